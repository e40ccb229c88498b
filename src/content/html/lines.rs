//! Text in lines and cells.

/// Text in lines, white space run together.
#[derive(Clone, Default)]
pub(super) struct Lines {
    pub(super) text: String,
    /// Where the cell of a table begins that is read now.
    cell: Option<usize>,
}

impl Lines {
    pub(super) fn with_capacity(octets: usize) -> Self {
        Self {
            text: String::with_capacity(octets),
            cell: None,
        }
    }

    /// Adds text whose white space is that of the source: a run of it is one space.
    pub(super) fn push_collapsed(&mut self, text: &str) {
        let is_space = |octet: u8| matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | 0x0C);
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.bytes().position(is_space).unwrap_or(rest.len());
            self.text.push_str(&rest[..word]);
            rest = &rest[word..];
            let space = rest.bytes().position(|octet| !is_space(octet));
            let space = space.unwrap_or(rest.len());
            if space > 0 && !self.text.is_empty() && !self.text.ends_with([' ', '\n', '\t']) {
                self.text.push(' ');
            }
            rest = &rest[space..];
        }
    }

    /// Ends the line, but where a block begins its cell: `<td><p>` (Outlook and Word write every cell so).
    pub(super) fn end_line(&mut self) {
        let begins_cell = self.cell == Some(self.text.len());
        if !begins_cell && !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    pub(super) fn begin_cell(&mut self) {
        self.end_cell();
        self.cell = Some(self.text.len());
    }

    /// Ends a cell with a tab. One of several lines stays lines. The text never gets shorter: others keep places in it.
    pub(super) fn end_cell(&mut self) {
        let Some(start) = self.cell.take() else {
            self.part();
            return;
        };
        let cell = &self.text[start..];
        let line_end = memchr::memchr(b'\n', cell.as_bytes());
        if line_end.is_some_and(|end| end + 1 == cell.len()) {
            self.text.pop();
            self.text.push('\t');
        } else {
            self.part();
        }
    }

    fn part(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with(['\n', '\t']) {
            self.text.push('\t');
        }
    }

    /// Ends the cell, and the line with it: a table within a cell has rows of its own.
    pub(super) fn end_row(&mut self) {
        self.cell = None;
        self.end_line();
    }
}
