//! The question that starts a plan: which mode. There is no default, and no way around it: a flag,
//! or a person's answer at a terminal with both estimates in sight.

use wavegate_proto::v1;

use super::{
    args::ModeChoice, console::Console, failure::Failure, interrupts::Interrupts, locale::Locale, text,
};

/// Refuses, before anything is started or stored, when a mode can come from nowhere.
pub(crate) fn require_way_to_choose(console: &Console, flag: Option<ModeChoice>) -> Result<(), Failure> {
    if flag.is_some() || console.asks {
        return Ok(());
    }
    Err(Failure::Usage(
        "a mode must be chosen: give --mode standard or --mode max (there is no terminal to ask \
         at); nothing was started"
            .to_owned(),
    ))
}

/// The mode of the flag, or of the person at the terminal.
pub(crate) async fn choose(
    console: &Console,
    flag: Option<ModeChoice>,
    estimates: &v1::Estimates,
    interrupts: &mut Interrupts,
) -> Result<v1::Mode, Failure> {
    require_way_to_choose(console, flag)?;
    if let Some(choice) = flag {
        return Ok(choice.into_proto());
    }
    let (console, estimates) = (console.clone(), estimates.clone());
    // Reading a terminal blocks; the thread is left behind when the answer is Ctrl-C.
    let asked = tokio::task::spawn_blocking(move || ask(&console, &estimates));
    tokio::select! {
        answer = asked => match answer {
            Ok(answer) => answer,
            Err(error) => Err(Failure::Backend(error.into())),
        },
        () = interrupts.next() => Err(Failure::Interrupted),
    }
}

/// Asks until the answer is one of the two modes; the end of the input approves nothing.
fn ask(console: &Console, estimates: &v1::Estimates) -> Result<v1::Mode, Failure> {
    let words = Words::of(console.locale);
    console.tell(&choices(&words, estimates, console.locale));
    let answer = console.ask(words.question, words.again, read_answer)?;
    answer.ok_or(Failure::NotApproved)
}

fn choices(words: &Words, estimates: &v1::Estimates, locale: Locale) -> String {
    let cost =
        |one: Option<v1::Estimate>| text::estimate(&one.unwrap_or_default(), estimates.agent_tasks, locale);
    let mut text = format!(
        "{}\n{}\n   {}\n{}\n   {}",
        words.head,
        words.standard,
        cost(estimates.standard),
        words.max,
        cost(estimates.max),
    );
    if !estimates.advice.is_empty() {
        text.push_str(&format!("\n{}", text::clean(&estimates.advice)));
    }
    text
}

fn read_answer(answer: &str) -> Option<v1::Mode> {
    match answer.to_ascii_lowercase().as_str() {
        "1" | "1." | "standard" => Some(v1::Mode::Standard),
        "2" | "2." | "max" => Some(v1::Mode::Max),
        _ => None,
    }
}

struct Words {
    head: &'static str,
    standard: &'static str,
    max: &'static str,
    question: &'static str,
    again: &'static str,
}

impl Words {
    const fn of(locale: Locale) -> Self {
        match locale {
            Locale::English => Self {
                head: "Execution mode:",
                standard: "1. Standard (3 parallel tasks) - Balanced, moderate cost",
                max: "2. Maximum parallelization - Fast, high cost, Opus orchestration",
                question: "Which mode do you prefer?",
                again: "Answer 1 or 2:",
            },
            Locale::Italian => Self {
                head: "Modalità di esecuzione:",
                standard: "1. Standard (3 task paralleli) - Bilanciata, costi moderati",
                max: "2. Massima Parallelizzazione - Veloce, costi elevati, Opus orchestration",
                question: "Quale modalità preferisci?",
                again: "Rispondi 1 o 2:",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::fake;

    fn estimates() -> v1::Estimates {
        v1::Estimates {
            standard: Some(v1::Estimate {
                mode: v1::Mode::Standard.into(),
                tokens: 270_000,
                cost_micro_usd: Some(1_350_000),
                wall_ms: Some(720_000),
            }),
            max: Some(v1::Estimate {
                mode: v1::Mode::Max.into(),
                tokens: 260_000,
                cost_micro_usd: None,
                wall_ms: None,
            }),
            agent_tasks: 7,
            advice: String::new(),
            prices_date: String::new(),
        }
    }

    #[test]
    fn the_italian_question_is_the_agreed_one_word_for_word() {
        let (console, _, err) = fake::console(Some("2\n"), Locale::Italian);
        assert_eq!(ask(&console, &estimates()).ok(), Some(v1::Mode::Max));
        insta::assert_snapshot!(err.text(), @"
        Modalità di esecuzione:
        1. Standard (3 task paralleli) - Bilanciata, costi moderati
           circa $1.35, 270.000 token, 12 min
        2. Massima Parallelizzazione - Veloce, costi elevati, Opus orchestration
           prezzo sconosciuto, 260.000 token, durata sconosciuta
        Quale modalità preferisci? 
        ");
    }

    #[test]
    fn a_wrong_answer_is_asked_again() {
        let (console, _, err) = fake::console(Some("yes\n\n3\n1\n"), Locale::English);
        assert_eq!(ask(&console, &estimates()).ok(), Some(v1::Mode::Standard));
        assert_eq!(err.text().matches("Answer 1 or 2:").count(), 3);
        assert_eq!(err.text().matches("Which mode do you prefer?").count(), 1);
    }

    #[test]
    fn the_end_of_the_input_approves_nothing() {
        let (console, _, _) = fake::console(Some(""), Locale::English);
        let answer = ask(&console, &estimates());
        assert!(matches!(answer, Err(Failure::NotApproved)), "{answer:?}");
    }

    #[test]
    fn a_shell_plan_is_told_to_use_no_tokens() {
        let (console, _, err) = fake::console(Some("1\n"), Locale::English);
        let estimates = v1::Estimates { agent_tasks: 0, ..estimates() };
        ask(&console, &estimates).expect("an answer was given");
        assert_eq!(err.text().matches("no tokens (shell tasks only)").count(), 2);
    }

    #[test]
    fn without_a_terminal_the_flag_is_named() {
        let (console, _, _) = fake::console(None, Locale::English);
        let failure = require_way_to_choose(&console, None).expect_err("no way to choose");
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("--mode"), "{failure}");
        assert!(require_way_to_choose(&console, Some(ModeChoice::Max)).is_ok());
    }
}
