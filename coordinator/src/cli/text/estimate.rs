//! What a mode would cost: dollars first where they are known, then tokens, then time.

use wavegate_proto::v1;

use super::{
    quantity::{dollars, grouped, rough_duration},
    table::{Table, wrapped},
};
use crate::cli::locale::Locale;

const SHELL_ONLY: &str = "Shell tasks only: this plan uses no tokens.";

/// Both estimates one above the other, and the advice.
pub(crate) fn estimates(estimates: &v1::Estimates) -> String {
    let mut table = Table::new(0, ["MODE", "COST", "TOKENS", "TIME"]);
    for (name, one) in [("standard", &estimates.standard), ("max", &estimates.max)] {
        let one = one.unwrap_or_default();
        let time = one.wall_ms.map(rough_duration);
        let (cost, tokens) = match estimates.agent_tasks {
            0 => ("$0.00".to_owned(), "0".to_owned()),
            _ => (cost(&one), grouped(one.tokens, ',')),
        };
        table.row([name.to_owned(), cost, tokens, time.unwrap_or_else(|| "unknown".to_owned())]);
    }
    let mut text = table.render();
    if estimates.agent_tasks == 0 {
        text.push_str(SHELL_ONLY);
        text.push('\n');
    }
    if !estimates.prices_date.is_empty() {
        text.push_str(&format!("by the prices of {}\n", super::clean(&estimates.prices_date)));
    }
    text.push_str(&wrapped(&estimates.advice, 0, super::WIDTH));
    text
}

fn cost(estimate: &v1::Estimate) -> String {
    let unknown = || "price unknown".to_owned();
    estimate.cost_micro_usd.map_or_else(unknown, dollars)
}

/// One estimate in a line, as it follows a choice of the approval question.
pub(crate) fn estimate(estimate: &v1::Estimate, agent_tasks: u32, locale: Locale) -> String {
    let words = Words::of(locale);
    let time = match estimate.wall_ms {
        Some(ms) => rough_duration(ms),
        None => words.unknown_time.to_owned(),
    };
    if agent_tasks == 0 {
        return format!("{}, {time}", words.no_tokens);
    }
    let cost = match estimate.cost_micro_usd {
        Some(micro_usd) => format!("{} {}", words.about, dollars(micro_usd)),
        None => words.unknown_price.to_owned(),
    };
    let tokens = grouped(estimate.tokens, words.separator);
    format!("{cost}, {tokens} {}, {time}", words.tokens)
}

struct Words {
    about: &'static str,
    unknown_price: &'static str,
    unknown_time: &'static str,
    no_tokens: &'static str,
    tokens: &'static str,
    separator: char,
}

impl Words {
    const fn of(locale: Locale) -> Self {
        match locale {
            Locale::English => Self {
                about: "about",
                unknown_price: "price unknown",
                unknown_time: "time unknown",
                no_tokens: "no tokens (shell tasks only)",
                tokens: "tokens",
                separator: ',',
            },
            Locale::Italian => Self {
                about: "circa",
                unknown_price: "prezzo sconosciuto",
                unknown_time: "durata sconosciuta",
                no_tokens: "nessun token (solo comandi shell)",
                tokens: "token",
                separator: '.',
            },
        }
    }
}
