//! Manual: the commands as pages for `man`, one for each, made from the same words as `--help`.

use clap::Command;
use std::path::Path;

/// Of commands that administrators run.
const SECTION: &str = "8";

/// Writes `gatepost.8`, `gatepost-queue.8`, `gatepost-queue-list.8` and so on.
pub(crate) fn write(mut program: Command, folder: &Path) -> Result<(), String> {
    program.build();
    page(&program, folder)
}

fn page(command: &Command, folder: &Path) -> Result<(), String> {
    let man = clap_mangen::Man::new(command.clone())
        .section(SECTION)
        .source(format!("gatepost {}", env!("CARGO_PKG_VERSION")))
        .manual("Gatepost");
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| error.to_string())?;
    let file = folder.join(man.get_filename());
    std::fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .try_for_each(|sub| page(sub, folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn each_command_has_a_page_and_hidden_ones_have_none() {
        let folder = tempfile::tempdir().unwrap();
        write(crate::cli::Cli::command(), folder.path()).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        assert!(text("gatepost.8").contains("First steps"), "{}", text("gatepost.8"));
        assert!(text("gatepost-queue-reroute.8").contains("gatepost queue reroute"));
        assert!(text("gatepost-manual.8").is_empty() && text("gatepost-help.8").is_empty());
    }
}
