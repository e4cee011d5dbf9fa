//! A long result on a terminal, a screen at a time, by the program that the person has chosen. Owns starting it;
//! whoever has none sees the result all the same.

use std::{
    env,
    io::Write as _,
    process::{Command, Stdio},
};

use super::{console::Console, failure::Failure, interrupts::Interrupts};

/// Shows the result: in a pager on a terminal, as it is elsewhere.
pub(crate) async fn show(console: &Console, bytes: Vec<u8>) -> Result<(), Failure> {
    let program = chosen(|name| env::var(name).ok());
    match program.filter(|_| console.pages && !bytes.is_empty()) {
        None => console.print_bytes(&bytes),
        Some(program) => {
            // Ctrl-C is the pager's while it is there.
            let _interrupts = Interrupts::listen()?;
            let page = move || (page(&program, &bytes), bytes);
            let paged = tokio::task::spawn_blocking(page).await;
            let (paged, bytes) = paged.map_err(|error| Failure::Internal(error.to_string()))?;
            if paged { Ok(()) } else { console.print_bytes(&bytes) }
        }
    }
}

/// The pager's command line; None where the person wants none.
fn chosen(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = ["GIT_PAGER", "PAGER"].into_iter().find_map(variable);
    let program = named.unwrap_or_else(|| "less".to_owned());
    let program = program.trim();
    (!program.is_empty() && program != "cat").then(|| program.to_owned())
}

/// Whether the pager has shown it.
fn page(program: &str, bytes: &[u8]) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", program]).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    if let Some(mut stdin) = child.stdin.take() {
        // One that is left before the end has shown enough.
        let _ = stdin.write_all(bytes);
    }
    // A shell that finds no such program says 127.
    child.wait().is_ok_and(|status| status.code() != Some(127))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_pager_comes_first_and_none_can_be_chosen() {
        let from = |pairs: &'static [(&str, &str)]| {
            chosen(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(from(&[]).as_deref(), Some("less"));
        assert_eq!(from(&[("PAGER", "more")]).as_deref(), Some("more"));
        assert_eq!(from(&[("PAGER", "more"), ("GIT_PAGER", "delta -n")]).as_deref(), Some("delta -n"));
        assert_eq!(from(&[("PAGER", "more"), ("GIT_PAGER", "cat")]), None);
        assert_eq!(from(&[("PAGER", "")]), None);
    }

    #[tokio::test]
    async fn what_is_no_terminal_gets_the_bytes() {
        let (console, out, _) =
            super::super::console::fake::console(None, crate::cli::locale::Locale::English);
        show(&console, b"one\n".to_vec()).await.unwrap();
        assert_eq!(out.text(), "one\n");
    }

    #[test]
    fn a_pager_that_is_not_there_has_shown_nothing() {
        assert!(!page("no-such-pager-anywhere", b"one\n"));
        assert!(page("cat > /dev/null", b"one\n"));
    }
}
