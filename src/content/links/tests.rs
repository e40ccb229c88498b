use super::*;
use proptest::prelude::*;

/// The hosts that a page leads to, each with a word for the way.
fn hosts(html: &str) -> Vec<String> {
    let links = of_html(html).found.into_iter();
    links.map(|link| word(&link)).collect()
}

fn word(link: &Link) -> String {
    let host = link
        .target
        .host
        .as_ref()
        .map(Host::to_string)
        .unwrap_or_default();
    let way = match link.way {
        Way::Text => "text",
        Way::Shown => "shown",
        Way::Anchor => "anchor",
        Way::Form => "form",
        Way::Redirect => "redirect",
        Way::Load => "load",
    };
    let scheme = match link.target.scheme {
        Scheme::Web => "",
        Scheme::Script => " script",
        Scheme::Program => " program",
    };
    format!("{way} {host}{scheme}").trim().to_owned()
}

fn target(address: &str) -> Option<Target> {
    Target::of(address, None)
}

fn host(address: &str) -> String {
    let host = target(address).and_then(|target| target.host);
    host.map(|host| host.to_string()).unwrap_or_default()
}

#[test]
fn addresses_lead_where_a_browser_goes() {
    for (address, expected) in [
        ("https://EVIL.Example/x", "evil.example"),
        ("https://evil.example./x", "evil.example"),
        ("//evil.example", "evil.example"),
        ("/\\evil.example", "evil.example"),
        ("https:evil.example", "evil.example"),
        ("https:/evil.example", "evil.example"),
        ("http:\\\\evil.example\\a", "evil.example"),
        ("https://nhs.uk\\@evil.example", "nhs.uk"),
        ("https://nhs.uk@evil.example/", "evil.example"),
        ("https://nhs.uk:x@evil.example/", "evil.example"),
        ("https://nhs.uk%2f@evil.example/", "evil.example"),
        ("ht\ntps://ev\til.example", "evil.example"),
        ("  \u{1}https://evil.example ", "evil.example"),
        ("https://%65vil.example", "evil.example"),
        ("https://evil\u{3002}example", "evil.example"),
        ("https://\u{ff45}vil.example", "evil.example"),
        ("https://ev\u{ad}il.example", "evil.example"),
        ("https://münchen.example", "xn--mnchen-3ya.example"),
        ("https://xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("http://3232235777/", "192.168.1.1"),
        ("http://0xC0.0xA8.1.1", "192.168.1.1"),
        ("http://0300.0250.01.01", "192.168.1.1"),
        ("http://192.168.257", "192.168.1.1"),
        ("http://[::ffff:c0a8:101]/", "192.168.1.1"),
        ("http://[2001:db8::1]/", "2001:db8::1"),
        ("ftp://evil.example", "evil.example"),
        ("file://evil.example/share", "evil.example"),
        ("\\\\evil.example\\share", "evil.example"),
        ("www.evil.example/x", "www.evil.example"),
        ("www.evil.example:8080/x", "www.evil.example"),
        ("evil.com/x", "evil.com"),
        ("view-source:https://evil.example", "evil.example"),
        ("https://ev il.example/", ""),
        ("https://evil.example:99999/", "evil.example"),
        (
            "https://x.safelinks.protection.outlook.com/?url=https%3A%2F%2Fevil.example",
            "evil.example",
        ),
    ] {
        assert_eq!(host(address), expected, "{address}");
    }
}

#[test]
fn what_is_odd_about_an_address_is_noted() {
    let of = |address: &str| target(address).unwrap();
    assert!(of("https://nhs.uk@evil.example").user_info);
    assert!(!of("https://evil.example/@nhs.uk").user_info);
    assert!(of("https://ev il.example").malformed);
    assert!(of("https://a@evil.example:99999").user_info);
    assert_eq!(of("java\tscript:alert(1)").scheme, Scheme::Script);
    assert_eq!(of("data:text/html;base64,PGh0bWw+").scheme, Scheme::Script);
    assert_eq!(of("search-ms:query=x").scheme, Scheme::Program);
    assert!(of("https://protect-eu.mimecast.com/s/x").opaque);
    for nowhere in [
        "",
        "#top",
        "mailto:a@b.example",
        "tel:111",
        "cid:x",
        "page.html",
        "../a",
        "data:image/png;base64,x",
        "[url]",
    ] {
        assert_eq!(target(nowhere), None, "{nowhere}");
    }
}

#[test]
fn everything_in_a_page_that_leads_somewhere_is_found() {
    for (html, found) in [
        ("<a href=https://a.example>x</a>", "anchor a.example"),
        ("<A HREF='https://a.example'>x</A>", "anchor a.example"),
        ("<area href=\"//a.example\">", "anchor a.example"),
        ("<a\n\thref = \"https://a.example\">", "anchor a.example"),
        (
            "<a href=\"h&#116;tps&colon;&#x2f;&sol;a.example\">",
            "anchor a.example",
        ),
        (
            "<a href=\"&#00000000000000000000000000000000000104;ttps://a.example\">",
            "anchor a.example",
        ),
        ("<a href=\"java&Tab;script:x\">", "anchor  script"),
        ("<form action=https://a.example>", "form a.example"),
        ("<button formaction=https://a.example>", "form a.example"),
        (
            "<base href=\"https://a.example/\"><a href=/login>",
            "anchor a.example",
        ),
        (
            "<meta http-equiv=Refresh content=\"0; URL='https://a.example'\">",
            "redirect a.example",
        ),
        (
            "<meta http-equiv=refresh content=\"0;//a.example\">",
            "redirect a.example",
        ),
        ("<meta name=x content=\"0;url=https://a.example\">", ""),
        ("<img src=//a.example/x.png>", "load a.example"),
        ("<iframe src=https://a.example>", "load a.example"),
        (
            "<link rel=stylesheet href=https://a.example>",
            "load a.example",
        ),
        ("<body background=https://a.example>", "load a.example"),
        (
            "<img srcset='https://a.example 1x, //b.example 2x'>",
            "load a.example,load b.example",
        ),
        ("<svg><a xlink:href=https://a.example>", "anchor a.example"),
        ("<v:roundrect href=https://a.example>", "anchor a.example"),
        (
            "<p style=\"background:url('https://a.example')\">",
            "load a.example",
        ),
        (
            "<style>@import 'https://a.example'; b { x: url(//b.example) }</style>",
            "load b.example,load a.example",
        ),
        (
            "<iframe srcdoc=\"&lt;a href=https://a.example&gt;\">",
            "anchor a.example",
        ),
        (
            "<!--[if mso]><a href=https://a.example><![endif]-->",
            "anchor a.example",
        ),
        ("<!-- <a href=https://a.example> -->", ""),
        ("<!--><a href=https://a.example>-->", "anchor a.example"),
        ("<![if !mso]><a href=https://a.example>", "anchor a.example"),
        (
            "<title><!--</title><a href=https://a.example>",
            "anchor a.example",
        ),
        (
            "<noembed><!--</noembed><a href=https://a.example>",
            "anchor a.example",
        ),
        (
            "<textarea><a href=https://a.example></textarea>",
            "anchor a.example",
        ),
        (
            "<script>location='https:\\/\\/a.example/x'</script>",
            "redirect a.example",
        ),
        ("<a title='>' href=https://a.example>", "anchor a.example"),
        ("<a href=https://a.example", "anchor a.example"),
        ("<a href=\"https://a.example>", "anchor"),
        (
            "<a href=https://a.example href=https://b.example>",
            "anchor a.example,anchor b.example",
        ),
        ("<a href='cid:x'>www.a.com</a>", "text www.a.com"),
        (
            "see www.a.com &lt;http://b.example&gt;",
            "text www.a.com,text b.example",
        ),
        ("<b>http&#58;//a.example</b>", "text a.example"),
        (
            "<a href=https://a.example>https://b.example</a>",
            "anchor a.example,shown b.example",
        ),
    ] {
        assert_eq!(
            hosts(html).join(",").replace("  ", " "),
            found.replace("  ", " "),
            "{html}"
        );
    }
}

#[test]
fn what_an_anchor_shows_is_known() {
    let shown = |html: &str| of_html(html).found[0].shown.clone().unwrap_or_default();
    for (html, host) in [
        ("<a href=https://evil.example>www.nhs.uk</a>", "www.nhs.uk"),
        (
            "<a href=https://evil.example> <b>https://</b><i>nhs.uk</i>/login </a>",
            "nhs.uk",
        ),
        ("<a href=https://evil.example>Book at nhs.uk</a>", ""),
        ("<a href=https://evil.example>a@nhs.uk</a>", ""),
        ("<a href=https://evil.example>nhs.uk<a href=x>", "nhs.uk"),
    ] {
        assert_eq!(shown(html), host, "{html}");
    }
}

#[test]
fn a_link_says_where_it_stands() {
    let html = "<p><a class=x href=\"https://a.example\" id=y>https&#58;//b.example!</a>";
    let found = of_html(html).found;
    assert_eq!(&html[found[0].at.clone()], "href=\"https://a.example\"");
    assert_eq!(&html[found[1].at.clone()], "https&#58;//b.example");
    assert_eq!(found[1].anchor, Some(found[0].at.start));
}

#[test]
fn links_are_counted_to_a_limit() {
    let many = "http://a.example ".repeat(LINKS_MAX + 1);
    let links = of_text(&many, Flow::Fixed);
    assert_eq!((links.found.len(), links.beyond), (LINKS_MAX, true));
    let html = "<a href=//a.example>".repeat(LINKS_MAX + 1);
    assert!(of_html(&html).beyond);
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC*", flow in prop_oneof![Just(Flow::Fixed), Just(Flow::Joined)]) {
        for link in of_text(&text, flow).found.into_iter().chain(of_html(&text).found) {
            prop_assert!(text.get(link.at).is_some());
        }
    }

    #[test]
    fn pieces_of_pages_in_any_order_are_read(html in "(<|>|</|<a |href=|src=|style=|url\\(|\\)|=|\"|'|&|&#58;|&lt|;|<!--|-->|<style>|</style>|<script>|<base |http://|https:|//|\\\\|@|%65|\\.|www\\.|a\\.com|é|\u{3002}| \r\n|>|\t|x){0,40}") {
        for link in of_html(&html).found.into_iter().chain(of_text(&html, Flow::Joined).found) {
            prop_assert!(html.get(link.at).is_some());
        }
    }

    #[test]
    fn any_address_leads_somewhere_or_nowhere(address in "(https?:|//|\\\\|/|@|:|%|\\.|\\[|\\]|0x|1|a|é|\u{430}|xn--|#|\\?| |\t){0,20}") {
        Target::of(&address, None);
    }
}
