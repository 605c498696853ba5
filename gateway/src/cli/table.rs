//! Columns of text for people. Cells may wrap, words are never cut.

use super::output::Layout;
use super::style::{Role, Style};

/// A piece of text with what it is.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    role: Option<Role>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            role: None,
        }
    }

    pub(super) fn of(role: Role, text: impl Into<String>) -> Self {
        Self {
            role: Some(role),
            ..Self::new(text)
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn painted(&self, style: Style, text: &str) -> String {
        match self.role {
            Some(role) => style.paint(role, text),
            None => text.to_owned(),
        }
    }
}

/// Rows of cells in columns, each line begun with `indent`. The last cell of a row wraps beneath
/// itself, or stands on a line of its own when there is too little room beside the others.
pub(super) fn table(rows: &[Vec<Cell>], indent: &str, layout: Layout, style: Style) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.saturating_sub(1))
        .map(|column| {
            let cells = rows.iter().filter(|row| column + 1 < row.len());
            let widths = cells.filter_map(|row| Some(row.get(column)?.width()));
            widths.max().unwrap_or_default().min(WIDEST)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let Some((last, before)) = row.split_last() else {
            continue;
        };
        let mut used = indent.chars().count();
        text.push_str(indent);
        for (cell, width) in before.iter().zip(&widths) {
            let gap = width.saturating_sub(cell.width()) + GAP;
            text.push_str(&cell.painted(style, &cell.text));
            text.push_str(&" ".repeat(gap));
            used += cell.width() + gap;
        }
        let room = layout.width().saturating_sub(used);
        if last.width() <= room || room >= LEAST {
            push_wrapped(&mut text, last, used, room, style);
        } else {
            text.truncate(text.trim_end_matches(' ').len());
            let deeper = indent.chars().count() + 4;
            text.push('\n');
            text.push_str(&" ".repeat(deeper));
            let room = layout.width().saturating_sub(deeper);
            push_wrapped(&mut text, last, deeper, room, style);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

fn push_wrapped(text: &mut String, cell: &Cell, column: usize, room: usize, style: Style) {
    let wrapped = Layout::of(room).wrap(&cell.text, "");
    let next = format!("\n{}", " ".repeat(column));
    for (number, line) in wrapped.lines().enumerate() {
        if number > 0 {
            text.push_str(&next);
        }
        text.push_str(&cell.painted(style, line));
    }
}

/// No column but the last is wider; longer cells push the others of their row to the right.
const WIDEST: usize = 30;
const GAP: usize = 2;
/// Least columns for a text that wraps beside others.
const LEAST: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_last_one_wraps() {
        let row = |a: &str, b: &str, c: &str| vec![Cell::new(a), Cell::new(b), Cell::new(c)];
        let rows = [
            row("a", "one", "short"),
            row(
                "longer",
                "two",
                "some words that do not fit beside the others",
            ),
            row(
                "longer-than-any-column-is-allowed-to-be",
                "x",
                "words that go to the next line",
            ),
        ];
        let text = table(&rows, "  ", Layout::of(46), Style::default());
        assert_eq!(
            text,
            "  a                               one  short\n  \
             longer                          two\n      \
             some words that do not fit beside the\n      others\n  \
             longer-than-any-column-is-allowed-to-be  x\n      \
             words that go to the next line\n"
        );
    }
}
