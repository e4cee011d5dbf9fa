//! What a talk used: counted call by call from the stream while it runs, and by the program's own
//! figures at its end.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wavegate_proto::v1::ModelUsage;

use crate::runner::usage::{micro_usd, since};

/// What one run used. The program may give several results, one for each time that it was done for the
/// moment; each tells what was used since the one before.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The session's cumulative figures at the last result, of this run or of the one before.
    counters: Vec<ModelUsage>,
    /// By the word of the results so far.
    settled: BTreeMap<String, ModelUsage>,
    /// Since the last result, by model.
    closed: BTreeMap<String, ModelUsage>,
    /// The calls that run, by the talk that they belong to: the main one, or a subagent's.
    open: BTreeMap<String, ModelUsage>,
    /// The last message of each talk.
    seen: BTreeMap<String, String>,
    /// Answered calls by model: no result tells them.
    calls: BTreeMap<String, u32>,
}

impl Ledger {
    pub(super) fn new(counters: Vec<ModelUsage>) -> Self {
        Self { counters, ..Self::default() }
    }

    /// The session's cumulative figures, as far as they were told.
    pub(super) fn counters(&self) -> &[ModelUsage] {
        &self.counters
    }

    /// The event within a `stream_event` of this talk.
    pub(super) fn on_event(&mut self, talk: &str, event: &Value) {
        match event["type"].as_str() {
            Some("message_start") => self.begin(talk, &event["message"]),
            // Its figures are of the whole call, and only it knows the final ones.
            Some("message_delta") => {
                if let Some(call) = self.open.get_mut(talk) {
                    read(call, &event["usage"]);
                }
            }
            Some("message_stop") => self.close(talk),
            _ => {}
        }
    }

    /// A message as a whole. Those of a subagent may come without a stream: then what was written is told
    /// by the next result alone.
    pub(super) fn on_message(&mut self, talk: &str, message: &Value) {
        let is_own = message["model"].as_str().is_some_and(|model| model.starts_with('<'));
        if !is_own && self.seen.get(talk).map(String::as_str) != message["id"].as_str() {
            self.begin(talk, message);
        }
    }

    fn begin(&mut self, talk: &str, message: &Value) {
        self.close(talk);
        let model = message["model"].as_str().unwrap_or_default().to_owned();
        *self.calls.entry(plain(&model).to_owned()).or_default() += 1;
        let mut call = ModelUsage { model, ..ModelUsage::default() };
        read(&mut call, &message["usage"]);
        self.open.insert(talk.to_owned(), call);
        self.seen.insert(talk.to_owned(), message["id"].as_str().unwrap_or_default().to_owned());
    }

    fn close(&mut self, talk: &str) {
        if let Some(call) = self.open.remove(talk) {
            add(&mut self.closed, &call);
        }
    }

    /// A result's own figures are exact; else the difference to what the session had used before. Where it
    /// has neither, what the stream said stands.
    pub(super) fn on_result(&mut self, result: &Value) {
        let all = result.get("modelUsage").filter(|all| all.is_object()).map(by_model);
        let own = result.get("model_usage_since_last_result").filter(|own| own.is_object()).map(by_model);
        let own = own.or_else(|| Some(since(all.as_ref()?, &self.counters)));
        if let Some(own) = own {
            self.by_who_answered(own).iter().for_each(|usage| add(&mut self.settled, usage));
            self.closed.clear();
            self.open.clear();
        }
        self.counters = all.unwrap_or_else(|| std::mem::take(&mut self.counters));
    }

    /// A result names the models that were asked, the calls those that answered. Where one that was asked
    /// never answered and one answered that was not asked, what was used is the latter's, at its own price.
    fn by_who_answered(&self, mut own: Vec<ModelUsage>) -> Vec<ModelUsage> {
        let answered: BTreeSet<_> =
            self.closed.keys().chain(self.open.values().map(|call| &call.model)).collect();
        let asked: Vec<_> = own.iter().map(|usage| plain(&usage.model).to_owned()).collect();
        let is_same = |one: &str, other: &str| undated(plain(one)) == undated(plain(other));
        let mut others = answered.iter().filter(|model| !asked.iter().any(|name| is_same(name, model)));
        let mut silent =
            own.iter_mut().filter(|usage| !answered.iter().any(|model| is_same(model, &usage.model)));
        if let (Some(usage), Some(other), None, None) =
            (silent.next(), others.next(), silent.next(), others.next())
        {
            usage.model = (*other).clone();
            usage.cost_micro_usd = None;
        }
        own
    }

    /// What was used so far, by model; a call that runs still counts with what it told. The cost is known
    /// for what a result told.
    pub(super) fn used(&self) -> Vec<ModelUsage> {
        let mut all = BTreeMap::new();
        for usage in self.settled.values().chain(self.closed.values()).chain(self.open.values()) {
            add(&mut all, &ModelUsage { model: plain(&usage.model).to_owned(), ..usage.clone() });
        }
        for model in all.values_mut() {
            model.calls = self.calls.get(&model.model).copied().unwrap_or(0);
        }
        all.into_values().collect()
    }
}

/// A model's name without what says how it is used, as in `claude-sonnet-5-5[1m]`.
fn plain(model: &str) -> &str {
    model.split('[').next().unwrap_or(model)
}

/// An id without its date, as in `claude-haiku-4-5-20251001`.
fn undated(model: &str) -> &str {
    let is_date = |end: &str| end.len() == 8 && end.bytes().all(|byte| byte.is_ascii_digit());
    model.rsplit_once('-').filter(|(_, end)| is_date(end)).map_or(model, |(name, _)| name)
}

fn read(call: &mut ModelUsage, usage: &Value) {
    let fields = [
        ("input_tokens", &mut call.tokens_in),
        ("output_tokens", &mut call.tokens_out),
        ("cache_read_input_tokens", &mut call.cache_read),
        ("cache_creation_input_tokens", &mut call.cache_write),
    ];
    for (name, field) in fields {
        *field = usage[name].as_u64().unwrap_or(*field);
    }
}

fn add(models: &mut BTreeMap<String, ModelUsage>, usage: &ModelUsage) {
    let Some(sum) = models.get_mut(&usage.model) else {
        models.insert(usage.model.clone(), usage.clone());
        return;
    };
    sum.tokens_in = sum.tokens_in.saturating_add(usage.tokens_in);
    sum.tokens_out = sum.tokens_out.saturating_add(usage.tokens_out);
    sum.cache_read = sum.cache_read.saturating_add(usage.cache_read);
    sum.cache_write = sum.cache_write.saturating_add(usage.cache_write);
    let costs = sum.cost_micro_usd.zip(usage.cost_micro_usd);
    sum.cost_micro_usd = costs.map(|(one, other)| one.saturating_add(other));
}

fn by_model(models: &Value) -> Vec<ModelUsage> {
    let models = models.as_object().into_iter().flatten();
    let mut models: Vec<_> = models
        .map(|(name, usage)| ModelUsage {
            model: name.clone(),
            tokens_in: usage["inputTokens"].as_u64().unwrap_or(0),
            tokens_out: usage["outputTokens"].as_u64().unwrap_or(0),
            cache_read: usage["cacheReadInputTokens"].as_u64().unwrap_or(0),
            cache_write: usage["cacheCreationInputTokens"].as_u64().unwrap_or(0),
            cost_micro_usd: cost_of(usage),
            calls: 0,
        })
        .collect();
    models.sort_by(|one, other| one.model.cmp(&other.model));
    models
}

/// For a model that it does not know the program prints a cost at another one's prices, and says so: only
/// what is by the list is a cost.
fn cost_of(usage: &Value) -> Option<u64> {
    usage["costUSD"].as_f64().filter(|_| usage["costBasis"] == "list").and_then(micro_usd)
}
