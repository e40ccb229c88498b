//! Records of a pivot table: the rows that it was made of, which stay in the file whether it shows them or not
//! (ECMA-376 part 1 §18.10). What their columns are called stands in another part.

use quick_xml::events::{BytesStart, Event};

use super::xml;

/// The names of the columns, of a definition (`pivotCacheDefinition1.xml`).
pub(super) fn fields(definition: &[u8]) -> Vec<String> {
    let source = xml::decoded(definition);
    let mut reader = xml::reader(&source);
    let mut names = Vec::new();
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(tag) | Event::Empty(tag) if tag.local_name().as_ref() == "cacheField" => {
                names.push(xml::attribute(&tag, "name").unwrap_or_default());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    names
}

/// What is in records.
#[derive(Default)]
pub(super) struct Records {
    /// The names of the columns, and rows as lines, cells parted by tabs.
    pub(super) text: String,
    /// Whether there was more than the limit allows.
    pub(super) is_cut: bool,
    /// Whether they were read to their end.
    pub(super) clean: bool,
}

/// Reads records, up to so many octets of text. A cell that points to a value of the definition is empty: that is read
/// there.
pub(super) fn read(records: &[u8], fields: &[String], octets_max: usize) -> Records {
    let source = xml::decoded(records);
    let mut reader = xml::reader(&source);
    let mut read = Records {
        text: fields.join("\t") + "\n",
        ..Records::default()
    };
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => push_cell(&mut read.text, &tag),
            Ok(Event::End(tag)) if tag.local_name().as_ref() == "r" => read.text.push('\n'),
            Ok(Event::Eof) => {
                read.clean = true;
                return read;
            }
            Ok(_) => {}
            Err(_) => return read,
        }
        if read.text.len() > octets_max {
            read.is_cut = true;
            return read;
        }
    }
}

fn push_cell(text: &mut String, tag: &BytesStart<'_>) {
    let value = match tag.local_name().as_ref() {
        "s" | "n" | "d" => xml::attribute(tag, "v").unwrap_or_default(),
        "x" | "m" | "b" | "e" => String::new(),
        _ => return,
    };
    text.push_str(&value);
    text.push('\t');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_stand_under_the_names_of_their_columns() {
        let definition = "<pivotCacheDefinition><cacheFields><cacheField name=\"Ward\"><sharedItems><s v=\"A\"/></sharedItems>\
                          </cacheField><cacheField name=\"NHS no\"/></cacheFields></pivotCacheDefinition>";
        let records = "<pivotCacheRecords><r><x v=\"0\"/><n v=\"4505577104\"/></r><r><m/><s v=\"a&amp;b\"/></r></pivotCacheRecords>";
        let fields = fields(definition.as_bytes());
        let read = |octets| read(records.as_bytes(), &fields, octets);
        let all = read(1000);
        assert!(all.clean && !all.is_cut);
        assert_eq!(all.text, "Ward\tNHS no\n\t4505577104\t\n\ta&b\t\n");
        assert!(read(20).is_cut);
    }

    proptest! {
        #[test]
        fn anything_like_records_is_read(xml in "(<|>|</|r| v=|\"|s|x|n|cacheField|name=|1|é|&|;|/){0,40}") {
            read(xml.as_bytes(), &fields(xml.as_bytes()), 1000);
        }
    }
}
