//! What is read of HTML.

use super::*;
use proptest::prelude::*;

#[test]
fn a_reader_sees_text_in_lines() {
    for (html, text) in [
        ("<p>one</p><p>two</p>", "one\ntwo\n"),
        ("a\r\n   b", "a b"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<b>9</b>4<span style='x'>3</span> 476", "943 476"),
        ("<td>943</td><td>476</td>", "943\t476\t"),
        (
            "943&nbsp;476&#8211;5919&#xA0;",
            "943\u{a0}476\u{2013}5919\u{a0}",
        ),
        (
            "&#150;&lt;&amp;&unknown;&#57&nbsp5",
            "\u{2013}<&&unknown;9\u{a0}5",
        ),
        ("<style>p { x }</style>a", "a\np { x }"),
        ("x<![CDATA[943]]>y", "xy\n[CDATA[943]]"),
        ("1 < 2 & 3 > 2", "1 < 2 & 3 > 2"),
        ("<a title=\"1 > 2\">x</a>", "x\n1 > 2"),
        ("<div style='display:none'>943</div>", "943\n"),
        ("x<!-- 943 -->y", "xy\n943 "),
        ("x<!--[if mso]><p>943</p><![endif]-->y", "xy\n943"),
        ("x<![if !mso]>y<![endif]>z", "xyz\n[if !mso]\n[endif]"),
        ("<img alt='NHS 943'>x", "x\nNHS 943"),
        (
            "<script>var a = '943</b>'</script>x",
            "x\nvar a = '943</b>'",
        ),
        ("x<!-->y", "xy"),
        (
            "<a href=mailto:a@b.example?subject=943>x",
            "x\nmailto:a@b.example?subject=943",
        ),
        ("open <a href='x", "open <a href='x"),
        ("<p class=\">x</p>", "x\n"),
    ] {
        assert_eq!(to_text(html), text, "{html}");
    }
}

#[test]
fn a_row_is_one_line_whatever_wraps_its_cells() {
    for (html, text) in [
        (
            "<table><tr><td><p class=MsoNormal>Name<o:p></o:p></p></td>\r\n <td>\r\n <p>NHS</p>\r\n </td></tr>\
             <tr><td><div><span>A</span></div></td><td><div><p>450</p></div></td></tr></table>",
            "Name\tNHS\t\nA\t450\t\n",
        ),
        ("<tr><td><p>a<td><p>b<tr><td><p>c", "a\tb\nc"),
        ("<td><p>a</p><p>b</p></td><td><p>c</p></td>", "a\nb\nc\t"),
        ("<td>a<br>b</td><td>c</td>", "a\nb\tc\t"),
        (
            "<td>a</td><td><table><tr><td><p>b</p></td></tr></table></td><td>c</td>",
            "a\t\nb\t\nc\t",
        ),
        (
            "<td><p>a</p></td><td><p></p></td><td><p>c</p></td>",
            "a\tc\t",
        ),
        (
            "<tr><td>a</td></tr><tr><td></td><td>b</td></tr>",
            "a\t\nb\t\n",
        ),
        ("<td>a</td></tr><p>b</p><td>", "a\t\nb\n"),
    ] {
        assert_eq!(to_text(html), text, "{html}");
    }
}

#[test]
fn a_title_is_read_apart_from_the_page() {
    for (html, text, titles) in [
        (
            "<html><head><title>Letter &amp; <b>4</b>50</title></head><body><p>x</p>",
            "x\n",
            Some("Letter & <b>4</b>50\nLetter & 450"),
        ),
        ("<title></title>x", "x", None),
        (
            "450 <title>a</title>557 <TITLE>b</TITLE>7104",
            "450 557 7104",
            Some("a\nb"),
        ),
        ("<title>a<p>b<title>c", "a\nb\nc", None),
        ("<title hidden>a</title>b", "b", Some("a")),
    ] {
        let read = read(html);
        assert_eq!(read.text, text, "{html}");
        assert_eq!(read.titles.as_deref(), titles, "{html}");
    }
    assert_eq!(to_text("<title>a</title>b"), "b\na");
}

#[test]
fn a_number_that_hidden_text_splits_is_whole_to_a_reader() {
    let in_sight = |html: &str| read(html).in_sight;
    for between in [
        "<span style=\"display:none\">x</span>",
        "<span style='visibility:hidden'>1<b>2</b></span>",
        "<font style=font-size:0>77</font>",
        "<i hidden>x<i>y</i>z</i>",
        "<i hidden=\"\">x</i>",
        "<div style=\"Display: NONE\">a<div>b</div>c</div>",
    ] {
        let html = format!("<p>NHS no 450{between} 557&nbsp;7104</p>end");
        let expected = "NHS no 450 557\u{a0}7104\nend";
        assert_eq!(in_sight(&html).as_deref(), Some(expected), "{html}");
    }
    let page = "<style>.q { display: none }</style>4<u class=\"a q\">9</u>5";
    assert_eq!(in_sight(page).as_deref(), Some("45"));
    for html in [
        "<div style=\"display:none\">see the newsletter</div><p>hello</p>",
        "<p>a</p><span style=\"display:none\">b</span><p>c</p>",
        "<td>1</td><td style=\"display:none\">2</td><td>3</td>",
        "<td><p>1</p></td><td><p hidden>2</p><p>3</p></td>",
        "<input type=hidden value=x>a",
        "<p aria-hidden=true>a</p>b",
        "<p>a</p>",
    ] {
        assert_eq!(in_sight(html), None, "{html}");
    }
    assert!(
        to_text("a<i hidden>b</i>c").starts_with("abc"),
        "nothing is lost"
    );
}

#[test]
fn the_texts_in_addresses_are_read() {
    let text = to_text("<a href=\"mailto:x@y.example?body=NHS%20no%20450&#37;20557%207104\">x</a>");
    assert!(text.contains("body=NHS no 450"), "{text}");
    let text = to_text("<iframe src='data:text/html;base64,PGI+NDUwPC9iPiA1NTcgNzEwNA=='>");
    assert!(text.contains("450 557 7104"), "{text}");
}

fn markup() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("<b>".to_owned()),
        Just("</b>".to_owned()),
        Just("<!-- x -->".to_owned()),
        Just("<span style=\"color: #fff; a: '>'\">".to_owned()),
        Just("&shy;".to_owned()),
        Just("&#8203;".to_owned()),
        Just("<wbr>".to_owned()),
        Just("<o:p></o:p>".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_text_is_read(html in "[\\PC<>&;#\"'=!/\\-]*") {
        to_text(&html);
    }

    #[test]
    fn tags_and_entities_in_any_order_are_read(html in "(<|>|&|&#|;|\"|'|<!--|-->|<a |x=|=\"|</|script|style|1|é|\n){0,40}") {
        to_text(&html);
    }

    #[test]
    fn cells_hidden_or_not_are_read_in_any_order(html in "(<td>|</td>|<tr>|</table>|<p>|</p>|<p hidden>|<i hidden>|</i>|<br>| |x|é){0,40}") {
        let seen = read(&html);
        let letters = |text: &str| text.matches(['x', 'é']).count();
        prop_assert_eq!(letters(&seen.text), letters(&html.replace("hidden", "")), "{}", html);
    }

    #[test]
    fn a_number_split_by_any_markup_is_whole(between in proptest::collection::vec(markup(), 9)) {
        let mut html = String::from("x ");
        for (digit, markup) in "9434765919".chars().zip(between.iter().chain([&String::new()])) {
            html.push(digit);
            html.push_str(markup);
        }
        let text = to_text(&html);
        let digits: String = text.chars().filter(|c| !matches!(c, '\u{ad}' | '\u{200b}')).collect();
        prop_assert!(digits.contains("9434765919"), "{}", html);
    }
}
