//! Charts as SVG, drawn here: they need no script, follow light and dark, and are read aloud by their title and table.

use maud::{Markup, html};

/// One coloured layer of a chart, from the bottom.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// Class that gives the colour: `s1` to `s5`, `good`, `bad`, `warn`.
    pub(crate) class: &'static str,
    pub(crate) values: Vec<u64>,
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 44.0;
const FOOT: f64 = 18.0;
/// Room for half of the topmost label.
const TOP: f64 = 8.0;

/// Bars stacked over `labels` (one for each value). Each layer of each bar, and each number of the table, leads by
/// `link(layer, bar)` to what it counts.
pub(crate) fn stacked(
    title: &str,
    labels: &[String],
    series: &[Series],
    link: &dyn Fn(usize, usize) -> String,
) -> Markup {
    let count = labels.len().max(1);
    let sum = |at: usize| series.iter().map(|series| series.values.get(at).copied().unwrap_or(0)).sum::<u64>();
    let top = nice((0..labels.len()).map(sum).max().unwrap_or(0));
    let step = (WIDTH - LEFT) / count as f64;
    let y = |value: f64| (HEIGHT - FOOT) * (1.0 - value / top as f64);
    let bar = |at: usize| {
        let value = |of: &Series| of.values.get(at).copied().unwrap_or(0);
        html! {
            @for (layer, of) in series.iter().enumerate().filter(|(_, of)| value(of) > 0) {
                @let below = series[..layer].iter().map(value).sum::<u64>();
                @let (from, to) = (y(below as f64), y((below + value(of)) as f64));
                @let rect = html! { rect class=(of.class) x=(round(LEFT + step * at as f64 + step * 0.1)) y=(round(to)) width=(round(step * 0.8)) height=(round(from - to)) {} };
                a href=(link(layer, at)) aria-label=(format!("{}, {} {}", labels[at], of.name, super::count(value(of)))) { (rect) }
            }
            title { (labels[at]) @for series in series { ", " (series.name) " " (super::count(series.values.get(at).copied().unwrap_or(0))) } }
        }
    };
    html! {
        figure.chart {
            figcaption { (title) ul.key { @for series in series { li { span class=(format!("dot {}", series.class)) {} (series.name) } } } }
            svg viewBox=(format!("0 -{TOP} {WIDTH} {}", HEIGHT + TOP)) role="group" aria-label=(title) {
                @for line in [0, top / 2, top] {
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(round(y(line as f64))) y2=(round(y(line as f64))) {}
                    text.axis x=(LEFT - 6.0) y=(round(y(line as f64) + 4.0)) text-anchor="end" { (short(line)) }
                }
                @for at in 0..labels.len() {
                    g { (bar(at)) }
                }
                @for at in (0..labels.len()).step_by((count / 6).max(1)) {
                    text.axis x=(round(LEFT + step * at as f64)) y=(HEIGHT - 4.0) { (labels[at]) }
                }
            }
            details.table { summary { "As a table" } table {
                thead { tr { th { "Time" } @for series in series { th { (series.name) } } } }
                tbody { @for at in 0..labels.len() { tr { th scope="row" { (labels[at]) } @for (layer, series) in series.iter().enumerate() { td.number {
                    a href=(link(layer, at)) { (super::count(series.values.get(at).copied().unwrap_or(0))) }
                } } } } }
            } }
        }
    }
}

/// The next number above that is even and round: 1, 2 or 5 times a power of ten, at least 2.
fn nice(value: u64) -> u64 {
    let mut step = 1_u64;
    loop {
        for factor in [2, 4, 10] {
            if step.saturating_mul(factor) >= value {
                return step.saturating_mul(factor);
            }
        }
        step = step.saturating_mul(10);
    }
}

fn short(value: u64) -> String {
    match value {
        0..10_000 => value.to_string(),
        10_000..1_000_000 => format!("{}k", value / 1000),
        _ => format!("{:.1}M", value as f64 / 1e6),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_its_numbers_in_words_too() {
        let series = [Series { name: "delivered", class: "good", values: vec![3, 1_200] }];
        let labels = ["10:00".to_owned(), "11:00".to_owned()];
        let text = stacked("Mail", &labels, &series, &|layer, bar| format!("/{layer}/{bar}")).into_string();
        assert!(text.contains("11:00, delivered 1,200") && text.contains("<th scope=\"row\">10:00</th>"), "{text}");
        assert!(!text.contains("style="), "the policy forbids inline styles: {text}");
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!([0, 2, 3, 11, 4_001].map(nice), [2, 2, 4, 20, 10_000]);
    }
}
