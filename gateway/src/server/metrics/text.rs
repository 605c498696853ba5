//! Writing the text format.

use std::fmt::Write as _;

use super::{BOUNDS, Histogram};

/// A page of metrics. Writing to a String cannot fail, so results of `write!` are dropped.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a metric; all of its lines must follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(
            self.0,
            "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n"
        );
    }

    /// One value. There is a value for each label.
    pub(super) fn line(&mut self, name: &str, labels: &[&str], values: &[&str], value: u64) {
        self.name(
            name,
            labels
                .iter()
                .zip(values)
                .map(|(name, value)| (*name, *value)),
        );
        let _ = writeln!(self.0, " {value}");
    }

    /// The lines of a histogram with one label.
    pub(super) fn histogram(&mut self, name: &str, label: (&str, &str), histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, inside) in bounds.zip(histogram.counts) {
            count += inside;
            self.name(&bucket, [label, ("le", bound.as_str())]);
            let _ = writeln!(self.0, " {count}");
        }
        self.name(&format!("{name}_sum"), [label]);
        let _ = writeln!(self.0, " {}", histogram.sum);
        self.name(&format!("{name}_count"), [label]);
        let _ = writeln!(self.0, " {count}");
    }

    /// The page.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn name<'l>(&mut self, name: &str, labels: impl IntoIterator<Item = (&'l str, &'l str)>) {
        let _ = write!(self.0, "{PREFIX}{name}");
        let mut opening = '{';
        for (label, value) in labels {
            let _ = write!(self.0, "{opening}{label}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.0.push('}');
        }
    }
}

const PREFIX: &str = "openclaw_auth_";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_and_histograms() {
        let mut page = Page::default();
        page.family("x_total", "counter", "About x.");
        page.line("x_total", &[], &[], 3);
        page.line("x_total", &["a", "b"], &["1", "q\"\\\n"], 4);
        let mut times = Histogram::default();
        for ms in [1, 5, 6, 100_000] {
            times.observe(Duration::from_millis(ms));
        }
        page.histogram("t", ("r", "/x"), &times);
        let text = page.into_text();
        let begin = "# HELP openclaw_auth_x_total About x.\n\
            # TYPE openclaw_auth_x_total counter\n\
            openclaw_auth_x_total 3\n\
            openclaw_auth_x_total{a=\"1\",b=\"q\\\"\\\\\\n\"} 4\n\
            openclaw_auth_t_bucket{r=\"/x\",le=\"0.005\"} 2\n\
            openclaw_auth_t_bucket{r=\"/x\",le=\"0.01\"} 3\n";
        assert!(text.starts_with(begin), "{text}");
        let end = "openclaw_auth_t_bucket{r=\"/x\",le=\"60\"} 3\n\
            openclaw_auth_t_bucket{r=\"/x\",le=\"+Inf\"} 4\n\
            openclaw_auth_t_sum{r=\"/x\"} 100.012\n\
            openclaw_auth_t_count{r=\"/x\"} 4\n";
        assert!(text.ends_with(end), "{text}");
    }
}
