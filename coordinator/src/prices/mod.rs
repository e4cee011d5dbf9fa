//! What models cost. Owns the price table (built in, dated, and replaceable entry by entry) and the cost of
//! what a model used, in whole millionths of a dollar.
//!
//! Deliberately knows no plan, store or wire. An agent's own word on its cost always stands: the table serves
//! where the agent says nothing. A model that the table does not hold has no known price, and is never given
//! another model's.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use wavegate_engine::{
    BlendedPrices, CostSource, ModelUsage, Report, Usage,
    model::{self, Family},
};

pub use file::PriceError;

use file::{Entry, File, Rates, Share, Source};

const BUILT_IN: &str = include_str!("prices.toml");
/// Prices are per so many tokens, and shares in so many parts.
const MILLION: u128 = 1_000_000;
/// What estimates speak of.
const FAMILIES: [Family; 3] = [Family::Haiku, Family::Sonnet, Family::Opus];

/// An entry, and the day that the price is of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dated {
    date: String,
    entry: Entry,
}

/// A price table. Each entry keeps the date of the file that it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prices {
    aliases: BTreeMap<String, String>,
    models: BTreeMap<String, Dated>,
    output_share: Share,
}

impl Prices {
    /// The table that the program brings along.
    #[must_use]
    pub fn built_in() -> Self {
        let mut prices = Self { aliases: BTreeMap::new(), models: BTreeMap::new(), output_share: Share(0) };
        let done = file::parse("prices.toml".to_owned(), BUILT_IN.to_owned())
            .and_then(|(file, source)| prices.apply(file, &source));
        done.expect("the built-in table is part of the program, and a test reads it");
        prices
    }

    /// The built-in table with the entries of this file, which are of its date, in place of its own.
    ///
    /// # Errors
    /// The file cannot be read, or is no price table: with its line and column.
    pub fn read(path: &Path) -> Result<Self, PriceError> {
        let (file, source) = file::read(path)?;
        let mut prices = Self::built_in();
        prices.apply(file, &source)?;
        Ok(prices)
    }

    /// What the tokens cost, in millionths of a US dollar, rounded to the nearest; absent where the model's
    /// price is not known. Where long requests cost more, the average request decides, since only sums are
    /// known: without a number of calls, they count as one.
    #[must_use]
    pub fn cost(&self, usage: &ModelUsage) -> Option<u64> {
        self.dated_cost(usage).map(|(cost, _)| cost)
    }

    /// The same with the day that the price is of.
    fn dated_cost(&self, usage: &ModelUsage) -> Option<(u64, &str)> {
        let Dated { date, entry } = self.entry(&usage.model)?;
        let input =
            u128::from(usage.tokens_in) + u128::from(usage.cache_read) + u128::from(usage.cache_write);
        let request = input / u128::from(usage.calls.max(1));
        let long = entry.long.as_ref().filter(|long| request > u128::from(long.over));
        let rates = long.map_or_else(|| entry.rates(), file::Long::rates);
        Some((total(&rates, usage), date))
    }

    /// Fills in the costs of models of which the agent said none, and makes the report's usage the sum of its
    /// models. A known cost and an unknown one make the known one.
    pub fn complete(&self, report: &mut Report) {
        let Report { usage, talk, .. } = report;
        self.complete_models(&talk.model, &mut talk.models, usage);
    }

    /// The same of what is told on the way. Usage of which nobody says the models is that of the one that
    /// answered, where there is such a word: what is in the sum is in the ledger.
    pub fn complete_models(&self, answered: &str, models: &mut Vec<ModelUsage>, usage: &mut Usage) {
        if models.is_empty() {
            models.extend(ModelUsage::of_one(answered, *usage));
        }
        if let Some(sum) = self.price(models) {
            *usage = sum;
        }
    }

    /// Fills in the costs that no agent told; gives the sum, where there is anything to sum.
    fn price(&self, models: &mut [ModelUsage]) -> Option<Usage> {
        for usage in &mut *models {
            if usage.cost_micro_usd.is_some() {
                continue;
            }
            usage.cost_source = CostSource::Unknown;
            if let Some((cost, date)) = self.dated_cost(usage) {
                usage.cost_micro_usd = Some(cost);
                usage.cost_source = CostSource::Prices;
                usage.price_date = date.to_owned();
            }
        }
        models.iter().map(ModelUsage::usage).reduce(Usage::plus)
    }

    /// Prices for estimates, by the newest model of each family and the assumed share of output.
    #[must_use]
    pub fn blended(&self) -> BlendedPrices {
        let share = u128::from(self.output_share.0);
        let blend = |family: &Family| {
            let rates = self.entry(family.as_str())?.entry.rates();
            let parts = u128::from(rates.input) * (MILLION - share) + u128::from(rates.output) * share;
            Some((*family, divided(parts)))
        };
        BlendedPrices { micro_usd_per_million: FAMILIES.iter().filter_map(blend).collect() }
    }

    /// The day that those are of; the days, where they are of several.
    #[must_use]
    pub fn blended_date(&self) -> String {
        let entries = FAMILIES.iter().filter_map(|family| self.entry(family.as_str()));
        let dates: BTreeSet<&str> = entries.map(|entry| entry.date.as_str()).collect();
        Vec::from_iter(dates).join(", ")
    }

    /// The entry of a model by its alias, its id, or its id with a date, a version or a vendor around it.
    fn entry(&self, model: &str) -> Option<&Dated> {
        let bare = bare(model);
        let id = self.aliases.get(&bare).unwrap_or(&bare);
        let entries = self.models.iter().filter(|(key, _)| is_version_of(id, key));
        entries.max_by_key(|(key, _)| key.len()).map(|(_, entry)| entry)
    }

    fn apply(&mut self, file: File, source: &Source) -> Result<(), PriceError> {
        let date = file.date.0;
        let dated = |entry| Dated { date: date.clone(), entry };
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (key, entry) in file.models {
            let (at, key) = (key.span().start, key.into_inner());
            let name = bare(&key);
            if name.is_empty() {
                return Err(source.wrong(at, &format!("`{key}` is no model's name, expected one")));
            }
            if let Some(means) =
                self.aliases.get(&name).filter(|_| !file.aliases.keys().any(|it| bare(it.get_ref()) == name))
            {
                let message = format!(
                    "`{key}` is an alias of `{means}`: give that model its price, or the alias another meaning"
                );
                return Err(source.wrong(at, &message));
            }
            if let Some(other) = names.insert(name.clone(), key.clone()) {
                return Err(
                    source.wrong(at, &format!("`{key}` is the same model as `{other}`, expected one entry"))
                );
            }
            self.models.insert(name, dated(entry));
        }
        if let Some(share) = file.estimates.output_share {
            self.output_share = share;
        }
        for (alias, model) in file.aliases {
            let id = bare(model.get_ref());
            if !self.models.contains_key(&id) {
                let message = format!(
                    "the alias `{}` means `{}`, which no entry of `models` names",
                    alias.get_ref(),
                    model.get_ref()
                );
                return Err(source.wrong(model.span().start, &message));
            }
            let name = bare(alias.get_ref());
            if name.is_empty() || self.models.contains_key(&name) {
                let message = format!(
                    "the alias `{}` has the name of a listed model, expected another one",
                    alias.get_ref()
                );
                return Err(source.wrong(alias.span().start, &message));
            }
            self.aliases.insert(name, id);
        }
        Ok(())
    }
}

/// The id without the vendor or region that some programs put before it, in the letters of the table.
fn bare(model: &str) -> String {
    let name = model.trim().rsplit('/').next().unwrap_or_default();
    let name = name.split_once("anthropic.").map_or(name, |(_, name)| name);
    model::canonical(name).to_ascii_lowercase()
}

/// Whether the id is the key itself, or the key with a date or a version after it. Another number after it
/// is another model: `claude-opus-5-5` is no `claude-opus-5`.
fn is_version_of(id: &str, key: &str) -> bool {
    let Some(rest) = id.strip_prefix(key) else {
        return false;
    };
    let is_date = |text: &str| {
        let digits = text.split(['-', '@', ':', '[']).next().unwrap_or_default();
        digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_numbered = |text: &str| {
        text.strip_prefix("-v").is_some_and(|number| number.starts_with(|it: char| it.is_ascii_digit()))
    };
    match rest.chars().next() {
        None | Some('@' | ':' | '[') => true,
        Some('-') => is_date(&rest[1..]) || is_numbered(rest) || rest == "-latest",
        Some(_) => false,
    }
}

fn total(rates: &Rates, usage: &ModelUsage) -> u64 {
    let parts = [
        (usage.tokens_in, rates.input),
        (usage.tokens_out, rates.output),
        (usage.cache_read, rates.cache_read),
        (usage.cache_write, rates.cache_write),
    ];
    // Four products of 64-bit numbers of which one is small: far below the end of 128 bits.
    divided(parts.iter().map(|(tokens, price)| u128::from(*tokens) * u128::from(*price)).sum())
}

fn divided(parts: u128) -> u64 {
    u64::try_from((parts + MILLION / 2) / MILLION).unwrap_or(u64::MAX)
}
