//! stdout for data: buffered, and silent once nobody reads it.
//!
//! A command ends with [`Out::flush`]: what is only flushed by being dropped fails unseen.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use super::CliError;

/// The process's stdout.
pub struct Out {
    inner: BufWriter<StdoutLock<'static>>,
}

/// Takes stdout; a command takes it once.
pub fn stdout() -> Out {
    Out { inner: BufWriter::with_capacity(64 << 10, io::stdout().lock()) }
}

impl Out {
    /// Writes one line.
    pub fn line(&mut self, line: fmt::Arguments<'_>) -> Result<(), CliError> {
        self.inner
            .write_fmt(line)
            .and_then(|()| self.inner.write_all(b"\n"))
            .map_err(|why| failed(&why))
    }

    /// Writes one line of bytes as they are, in pieces.
    pub fn bytes(&mut self, pieces: &[&[u8]]) -> Result<(), CliError> {
        pieces
            .iter()
            .try_for_each(|piece| self.inner.write_all(piece))
            .and_then(|()| self.inner.write_all(b"\n"))
            .map_err(|why| failed(&why))
    }

    /// Writes `rows` as columns, each as wide as its widest cell.
    pub fn table(&mut self, rows: &[Vec<String>]) -> Result<(), CliError> {
        for line in aligned(rows) {
            self.line(format_args!("{line}"))?;
        }
        Ok(())
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> Result<(), CliError> {
        self.inner.flush().map_err(|why| failed(&why))
    }
}

fn failed(why: &io::Error) -> CliError {
    match why.kind() {
        ErrorKind::BrokenPipe => CliError::StdoutClosed,
        _ => CliError::Failed(format!("cannot write to stdout: {why}")),
    }
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let column_count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width =
        |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = (0..column_count)
        .map(|column| rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<String>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::aligned;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [row(&["a", "long cell", "c"]), row(&["ééé", "b", ""]), row(&[])];
        assert_eq!(aligned(&rows), ["a    long cell  c", "ééé  b", ""]);
        assert!(aligned(&[]).is_empty());
    }
}
