//! What models used, added up and taken apart. Knows no prices.

use wavegate_proto::v1;

/// The sum of what the models used; its cost is known where every model's is.
#[must_use]
pub fn usage_of(models: &[v1::ModelUsage]) -> v1::Usage {
    let mut usage = v1::Usage::default();
    let mut cost = (!models.is_empty()).then_some(0_u64);
    for model in models {
        usage.tokens_in = sum([usage.tokens_in, model.tokens_in, model.cache_write]);
        usage.tokens_out = sum([usage.tokens_out, model.tokens_out]);
        usage.tokens_cached = sum([usage.tokens_cached, model.cache_read]);
        cost = cost.zip(model.cost_micro_usd).map(|(all, one)| all.saturating_add(one));
    }
    usage.cost_micro_usd = cost;
    usage
}

/// What was used since the counters stood at `before`. A counter that went back counts as nothing used:
/// it began again, and nobody can say from where.
pub(super) fn since(now: &[v1::ModelUsage], before: &[v1::ModelUsage]) -> Vec<v1::ModelUsage> {
    now.iter().map(|model| difference(model, before.iter().find(|old| old.model == model.model))).collect()
}

fn difference(now: &v1::ModelUsage, before: Option<&v1::ModelUsage>) -> v1::ModelUsage {
    let nothing = v1::ModelUsage::default();
    let before = before.unwrap_or(&nothing);
    let cost = now.cost_micro_usd.map(|cost| cost.saturating_sub(before.cost_micro_usd.unwrap_or(0)));
    v1::ModelUsage {
        model: now.model.clone(),
        tokens_in: now.tokens_in.saturating_sub(before.tokens_in),
        tokens_out: now.tokens_out.saturating_sub(before.tokens_out),
        cache_read: now.cache_read.saturating_sub(before.cache_read),
        cache_write: now.cache_write.saturating_sub(before.cache_write),
        cost_micro_usd: cost,
        calls: now.calls.saturating_sub(before.calls),
    }
}

fn sum<const N: usize>(parts: [u64; N]) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

/// US dollars as a program writes them, in millionths; None for what is no amount.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range just before"
)]
pub(super) fn micro_usd(usd: f64) -> Option<u64> {
    (0.0..=1e9).contains(&usd).then(|| (usd * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, tokens_in: u64, cost: Option<u64>) -> v1::ModelUsage {
        let model = name.to_owned();
        v1::ModelUsage { model, tokens_in, cache_write: 1, cost_micro_usd: cost, ..v1::ModelUsage::default() }
    }

    #[test]
    fn a_sum_counts_what_was_written_to_the_cache_as_input() {
        let usage = usage_of(&[model("a", 10, Some(3)), model("b", 20, Some(4))]);
        assert_eq!((usage.tokens_in, usage.cost_micro_usd), (32, Some(7)));
    }

    #[test]
    fn one_unknown_cost_makes_the_sum_unknown() {
        assert_eq!(usage_of(&[model("a", 1, Some(3)), model("b", 1, None)]).cost_micro_usd, None);
        assert_eq!(usage_of(&[]).cost_micro_usd, None);
    }

    #[test]
    fn a_difference_is_taken_by_model_and_never_negative() {
        let before = [model("a", 10, Some(5)), model("b", 9, Some(1))];
        let now = [model("a", 30, Some(25)), model("b", 3, Some(4)), model("c", 7, Some(2))];
        let used: Vec<_> =
            since(&now, &before).into_iter().map(|model| (model.tokens_in, model.cost_micro_usd)).collect();
        assert_eq!(used, [(20, Some(20)), (0, Some(3)), (7, Some(2))]);
    }

    #[test]
    fn dollars_are_rounded_to_millionths() {
        assert_eq!(micro_usd(0.000_400_4), Some(400));
        assert_eq!((micro_usd(-1.0), micro_usd(f64::NAN)), (None, None));
    }
}
