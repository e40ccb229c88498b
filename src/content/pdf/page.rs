//! Pages: the operators that draw text, and where it comes to stand (ISO 32000-1 §9.4).
//!
//! Strings that follow each other on one line are one text, whatever operators lie between; a gap is a
//! space, a wide one a tab, and what stands elsewhere begins a line.

use std::collections::BTreeMap;
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Object};

use crate::content::unpack::Stopped;

use super::font::{Font, Fonts};
use super::rows::{Fragment, Rows};
use super::shown::Shown;

/// The text of one page or form.
pub(super) struct Page<'d, 'f> {
    fonts: &'f mut Fonts<'d>,
    named: BTreeMap<Vec<u8>, &'d Dictionary>,
    pub(super) text: String,
    /// How much of what is on it.
    pub(super) shown: Shown,
    /// Where what stands.
    pub(super) rows: Rows,
    state: State<'d>,
    saved: Vec<State<'d>>,
    /// Where the text and its line began.
    at: Matrix,
    line: Matrix,
    /// Where the last string ended.
    end: Option<(f64, f64)>,
}

#[derive(Clone)]
struct State<'d> {
    page: Matrix,
    font: Option<Rc<Font<'d>>>,
    size: f64,
    /// Added to each character and each space.
    spacing: f64,
    word_spacing: f64,
    /// 1 for 100 %.
    stretch: f64,
    leading: f64,
}

impl<'d, 'f> Page<'d, 'f> {
    pub(super) fn new(fonts: &'f mut Fonts<'d>, named: BTreeMap<Vec<u8>, &'d Dictionary>) -> Self {
        Self {
            fonts,
            named,
            text: String::new(),
            shown: Shown::default(),
            rows: Rows::default(),
            state: State {
                page: Matrix::ONE,
                font: None,
                size: 1.0,
                spacing: 0.0,
                word_spacing: 0.0,
                stretch: 1.0,
                leading: 0.0,
            },
            saved: Vec::new(),
            at: Matrix::ONE,
            line: Matrix::ONE,
            end: None,
        }
    }

    /// Reads what draws it, up to so many octets of text.
    pub(super) fn draw(&mut self, content: &[u8], octets_max: usize) -> Result<(), Stopped> {
        for operation in Content::decode_iter(content) {
            let operation = operation.map_err(|_| Stopped::Malformed)?;
            self.operation(&operation);
            if self.text.len() > octets_max {
                return Err(Stopped::TooLarge);
            }
        }
        Ok(())
    }

    fn operation(&mut self, operation: &Operation) {
        let operands = operation.operands.as_slice();
        let number = |index: usize| operands.get(index).map_or(0.0, number_of);
        match operation.operator.as_str() {
            "q" if self.saved.len() < SAVED_MAX => self.saved.push(self.state.clone()),
            "Q" => self.state = self.saved.pop().unwrap_or_else(|| self.state.clone()),
            "cm" => self.state.page = matrix_of(operands).then(&self.state.page),
            "BT" => self.place(Matrix::ONE),
            "Tm" => self.place(matrix_of(operands)),
            "Td" => self.next_line(number(0), number(1)),
            "TD" => {
                self.state.leading = -number(1);
                self.next_line(number(0), number(1));
            }
            "T*" => self.next_line(0.0, -self.state.leading),
            "TL" => self.state.leading = number(0),
            "Tc" => self.state.spacing = number(0),
            "Tw" => self.state.word_spacing = number(0),
            "Tz" => self.state.stretch = number(0) / 100.0,
            "Tf" => self.font(operands),
            "Do" => self.draw_named(operands),
            "BI" => self.shown.picture(self.state.page.area()),
            "c" | "v" | "y" => self.shown.curves += 1,
            "Tj" => self.show_all(operands),
            "TJ" => {
                if let Some(Object::Array(strings)) = operands.first() {
                    self.show_all(strings);
                }
            }
            "'" => {
                self.next_line(0.0, -self.state.leading);
                self.show_all(operands);
            }
            "\"" => {
                self.state.word_spacing = number(0);
                self.state.spacing = number(1);
                self.next_line(0.0, -self.state.leading);
                self.show_all(operands.get(2..).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn font(&mut self, operands: &[Object]) {
        let name = operands.first().and_then(|name| name.as_name().ok());
        let font = name.and_then(|name| self.named.get(name).copied());
        self.state.font = font.map(|font| self.fonts.of(font));
        self.state.size = operands.get(1).map_or(1.0, number_of);
    }

    /// A picture or a form; which of the two the document knows.
    fn draw_named(&mut self, operands: &[Object]) {
        let name = operands.first().and_then(|name| name.as_name().ok());
        if let Some(name) = name.filter(|_| self.shown.drawn.len() < DRAWN_MAX) {
            self.shown
                .drawn
                .push((name.to_vec(), self.state.page.area()));
        }
    }

    fn place(&mut self, matrix: Matrix) {
        self.at = matrix;
        self.line = matrix;
    }

    fn next_line(&mut self, x: f64, y: f64) {
        self.place(Matrix::moved(x, y).then(&self.line));
    }

    /// Strings, and the numbers between them that move them apart, in thousandths.
    fn show_all(&mut self, strings: &[Object]) {
        for string in strings {
            match string {
                Object::String(octets, _) => self.show(octets),
                other => self.go_on(-number_of(other) / 1000.0 * self.state.size),
            }
        }
    }

    fn go_on(&mut self, by: f64) {
        self.at = Matrix::moved(by * self.state.stretch, 0.0).then(&self.at);
    }

    fn show(&mut self, string: &[u8]) {
        self.part();
        let Some(font) = self.state.font.clone() else {
            // In a font that is not there a program takes another one.
            self.shown.characters += string.trim_ascii().len();
            self.text.push_str(&String::from_utf8_lossy(string));
            return;
        };
        let text = font.text(string);
        self.shown.characters += text.trim().chars().count();
        let from = self.text.len();
        self.text.push_str(&text);
        let start = self.at.then(&self.state.page);
        let state = &self.state;
        let width = |(width, is_space): (f64, bool)| {
            let word = if is_space { state.word_spacing } else { 0.0 };
            width / 1000.0 * state.size + state.spacing + word
        };
        let width = font.widths(string).map(width).sum();
        self.go_on(width);
        let end = self.at.then(&self.state.page).origin();
        self.end = Some(end);
        self.fragment(&start, end, from);
    }

    /// Takes down where a string stands that runs to the right, as all but stamps and sides of tables do.
    fn fragment(&mut self, start: &Matrix, end: (f64, f64), from: usize) {
        let ((x, y), (along_x, along_y)) = (start.origin(), start.direction());
        if along_x > 0.0 && along_y.abs() <= along_x * UPRIGHT {
            self.rows.add(Fragment {
                x: x..end.0.max(x),
                y,
                size: (self.state.size * along_x).abs(),
                text: from..self.text.len(),
            });
        }
    }

    /// Parts what comes from what was shown before, by how far apart they stand.
    fn part(&mut self) {
        let to_page = self.at.then(&self.state.page);
        let Some((end_x, end_y)) = self.end else {
            return;
        };
        let ((x, y), (along_x, along_y)) = (to_page.origin(), to_page.direction());
        let length = along_x.hypot(along_y);
        let size = (self.state.size * length).abs();
        if size < f64::EPSILON || !size.is_finite() {
            return;
        }
        let (dx, dy) = (x - end_x, y - end_y);
        let gap = (dx * along_x + dy * along_y) / length / size;
        let across = (dx * along_y - dy * along_x).abs() / length / size;
        if across > LINE || gap < -BACK {
            self.push_once('\n');
        } else if gap > COLUMN {
            self.push_once('\t');
        } else if gap > SPACE {
            self.push_once(' ');
        }
    }

    fn push_once(&mut self, white: char) {
        if !self.text.is_empty() && !self.text.ends_with([' ', '\n', '\t']) {
            self.text.push(white);
        } else if white == '\n' && self.text.ends_with([' ', '\t']) {
            self.text.push('\n');
        }
    }
}

/// `[a b c d e f]` (§8.3.3).
#[derive(Clone, Copy)]
struct Matrix([f64; 6]);

impl Matrix {
    const ONE: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    fn moved(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    fn then(&self, outer: &Self) -> Self {
        let ([a, b, c, d, e, f], [oa, ob, oc, od, oe, of]) = (self.0, outer.0);
        Self([
            a * oa + b * oc,
            a * ob + b * od,
            c * oa + d * oc,
            c * ob + d * od,
            e * oa + f * oc + oe,
            e * ob + f * od + of,
        ])
    }

    /// How large the unit square becomes.
    fn area(&self) -> f64 {
        let [a, b, c, d, ..] = self.0;
        (a * d - b * c).abs()
    }

    fn origin(&self) -> (f64, f64) {
        (self.0[4], self.0[5])
    }

    /// Which way a line runs.
    fn direction(&self) -> (f64, f64) {
        (self.0[0], self.0[1])
    }
}

fn matrix_of(operands: &[Object]) -> Matrix {
    let mut matrix = Matrix::ONE;
    for (cell, operand) in matrix.0.iter_mut().zip(operands) {
        *cell = number_of(operand);
    }
    matrix
}

fn number_of(object: &Object) -> f64 {
    object.as_float().map_or(0.0, f64::from)
}

/// Distances from which on text stands apart, in sizes of the font.
pub(super) const LINE: f64 = 0.5;
const BACK: f64 = 2.0;
pub(super) const SPACE: f64 = 0.18;
pub(super) const COLUMN: f64 = 1.5;
/// How far a line rises, of how far it runs, that is level to a reader.
const UPRIGHT: f64 = 0.05;
/// Pictures and forms of one page that are looked at.
const DRAWN_MAX: usize = 10_000;
/// States that are kept, one in the other.
const SAVED_MAX: usize = 256;
