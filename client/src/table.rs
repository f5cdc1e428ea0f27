//! Tables: columns that line up. Pure.

use crate::human;
use crate::paint::{Paint, Tone};

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// To which side a column leans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Cell {
    /// Text without a colour; control characters in it are made visible.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// Text with a colour.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: human::printable(text.as_ref()).into_owned(), tone }
    }
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; what is missing at its end stays empty.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// True without rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text, every line ended. With a `width`, the last column is cut to fit.
    pub(crate) fn render(&self, paint: Paint, width: Option<usize>) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (title, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells.map(|cell| cell.text.chars().count()).chain([title.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let titles: Vec<Cell> = self.columns.iter().map(|(title, _)| Cell::toned(title, Tone::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            text.push_str(&self.line(row, &widths, paint, width));
            text.push('\n');
        }
        text
    }

    fn line(&self, row: &[Cell], widths: &[usize], paint: Paint, limit: Option<usize>) -> String {
        const GAP: usize = 2;
        let filled = row.iter().rposition(|c| !c.text.is_empty()).map_or(0, |last| last + 1);
        let mut line = String::new();
        let mut used = 0;
        for (at, cell) in row.iter().enumerate().take(filled.min(widths.len())) {
            if at > 0 {
                line.push_str(&" ".repeat(GAP));
                used += GAP;
            }
            let is_last = at + 1 == widths.len();
            let shown = match limit {
                Some(limit) if is_last => human::cut(&cell.text, limit.saturating_sub(used).max(8)),
                _ => cell.text.as_str().into(),
            };
            let pad = " ".repeat(widths[at].saturating_sub(shown.chars().count()));
            let painted = paint.text(cell.tone, &shown);
            match self.columns[at].1 {
                Align::Right => {
                    line.push_str(&pad);
                    line.push_str(&painted);
                }
                Align::Left => {
                    line.push_str(&painted);
                    if at + 1 < filled {
                        line.push_str(&pad);
                    }
                }
            }
            used += widths[at];
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Table {
        let mut table = Table::new(&[("ID", Align::Right), ("STATE", Align::Left), ("NAME", Align::Left)]);
        table.row(vec![Cell::new("7"), Cell::toned("failed", Tone::Bad), Cell::new("a-long-name.toml")]);
        table.row(vec![Cell::new("12"), Cell::new("queued"), Cell::new("")]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        assert_eq!(sample().render(Paint::OFF, None), "ID  STATE   NAME\n 7  failed  a-long-name.toml\n12  queued\n");
    }

    #[test]
    fn the_last_column_is_cut() {
        let text = sample().render(Paint::OFF, Some(22));
        assert!(text.contains(" 7  failed  a-long-na…\n"), "{text}");
    }

    proptest! {
        #[test]
        fn any_cells_render(cells in proptest::collection::vec(".{0,30}", 0..12), width in 0usize..60) {
            let mut table = Table::new(&[("A", Align::Left), ("B", Align::Right), ("C", Align::Left)]);
            for row in cells.chunks(4) {
                table.row(row.iter().map(Cell::new).collect());
            }
            let rows = cells.chunks(4).len();
            prop_assert_eq!(table.render(Paint::OFF, Some(width)).lines().count(), rows + 1);
        }
    }
}
