//! The little Markdown of the manual's pages: paragraphs, lists, code. Everything is escaped.

use maud::{Markup, html};

/// Blocks that empty lines divide.
pub(crate) fn blocks(text: &str) -> Markup {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        match blocks.last_mut() {
            Some(block) if !line.trim().is_empty() || fenced => block.push(line),
            _ => blocks.push(Vec::new()),
        }
    }
    html! { @for block in blocks.iter().filter(|block| !block.is_empty()) { (one(block)) } }
}

fn one(block: &[&str]) -> Markup {
    let is_item = |line: &str| line.starts_with("- ") || line.starts_with("* ");
    if block[0].trim_start().starts_with("```") {
        let inner: Vec<&str> =
            block[1..].iter().copied().filter(|line| !line.trim_start().starts_with("```")).collect();
        return html! { pre { (inner.join("\n")) } };
    }
    if block.iter().all(|line| line.starts_with("    ")) {
        return html! { pre { @for line in block { (&line[4..]) "\n" } } };
    }
    let Some(first) = block.iter().position(|line| is_item(line)) else {
        return html! { p { (inline(&block.join(" "))) } };
    };
    let mut items: Vec<String> = Vec::new();
    for line in &block[first..] {
        match items.last_mut() {
            Some(item) if !is_item(line) => item.push_str(&format!(" {}", line.trim())),
            _ => items.push(line[2..].to_owned()),
        }
    }
    html! {
        @if first > 0 { p { (inline(&block[..first].join(" "))) } }
        ul { @for item in &items { li { (inline(item)) } } }
    }
}

/// Code between backticks, strong between two stars.
fn inline(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } }
            @else { @for (at, part) in part.split("**").enumerate() { @if at % 2 == 1 { strong { (part) } } @else { (part) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn the_manuals_forms_become_html_and_nothing_else_does() {
        let text = "One `a<b>` and **two**\nlines.\n\nThree:\n- x\n  more\n- y\n\n```\n$ <run>\n\n```";
        let html = "<p>One <code>a&lt;b&gt;</code> and <strong>two</strong> lines.</p><p>Three:</p><ul><li>x more</li><li>y</li></ul><pre>$ &lt;run&gt;\n</pre>";
        assert_eq!(blocks(text).into_string(), html);
    }
}
