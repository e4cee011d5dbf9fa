//! Durations, instants, tokens and dollars as people read them.

use wavegate_proto::v1;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// `340 ms`, `12.4 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(ms: u64) -> String {
    match ms {
        0..SECOND_MS => format!("{ms} ms"),
        SECOND_MS..MINUTE_MS => format!("{}.{} s", ms / SECOND_MS, ms % SECOND_MS / 100),
        MINUTE_MS..HOUR_MS => {
            format!("{} min {:02} s", ms / MINUTE_MS, ms % MINUTE_MS / SECOND_MS)
        }
        _ => format!("{} h {:02} min", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS),
    }
}

/// A duration without parts that an estimate does not know: `45 s`, `12 min`, `2 h 30 min`.
pub(super) fn rough_duration(ms: u64) -> String {
    match ms {
        0..MINUTE_MS => format!("{} s", ms.div_ceil(SECOND_MS)),
        MINUTE_MS..HOUR_MS => format!("{} min", ms.div_ceil(MINUTE_MS)),
        _ => format!("{} h {:02} min", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS),
    }
}

/// `270,000`.
pub(super) fn grouped(number: u64, separator: char) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// `$1.35`; below a cent with as many places as it takes: `$0.0007`.
pub(super) fn dollars(micro_usd: u64) -> String {
    let cents = (micro_usd + 5_000) / 10_000;
    if micro_usd == 0 || micro_usd >= 10_000 {
        return format!("${}.{:02}", grouped(cents / 100, ','), cents % 100);
    }
    let places = format!("{micro_usd:06}");
    format!("$0.{}", places.trim_end_matches('0'))
}

/// `$0.01`, `$0.01 and unknown`, `unknown`: the known part, and whether there is another one.
pub(super) fn cost(known: Option<u64>, has_unknown: bool) -> String {
    match (known, has_unknown) {
        (None, _) | (Some(0), true) => "unknown".to_owned(),
        (Some(micro_usd), true) => format!("{} and unknown", dollars(micro_usd)),
        (Some(micro_usd), false) => dollars(micro_usd),
    }
}

/// Every token that was used, cached ones too.
pub(super) const fn tokens(usage: &v1::Usage) -> u64 {
    usage.tokens_in.saturating_add(usage.tokens_out).saturating_add(usage.tokens_cached)
}

/// The time of day in UTC: `09:05:04`.
pub(super) fn clock(at_ms: i64) -> String {
    let seconds = at_ms.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Date and time in UTC as RFC 3339 has it: `2026-11-23T09:05:04Z`; None for 0, which means never.
pub(crate) fn instant(at_ms: i64) -> Option<String> {
    if at_ms == 0 {
        return None;
    }
    let (year, month, day) = civil(at_ms.div_euclid(86_400_000));
    Some(format!("{year:04}-{month:02}-{day:02}T{}Z", clock(at_ms)))
}

/// The date of a day counted from 1970-01-01 (Howard Hinnant, `civil_from_days`).
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_keeps_the_two_parts_that_matter() {
        let texts = [340, 12_450, 185_000, 7_620_000].map(duration);
        assert_eq!(texts, ["340 ms", "12.4 s", "3 min 05 s", "2 h 07 min"]);
    }

    #[test]
    fn dollars_are_never_rounded_to_nothing() {
        let texts = [0, 700, 1_350_000, 1_234_567_890_000].map(dollars);
        assert_eq!(texts, ["$0.00", "$0.0007", "$1.35", "$1,234,567.89"]);
    }

    #[test]
    fn an_unknown_part_of_a_cost_is_never_left_out() {
        let texts = [(None, true), (Some(0), true), (Some(10_000), true), (Some(10_000), false)]
            .map(|(known, has_unknown)| cost(known, has_unknown));
        assert_eq!(texts, ["unknown", "unknown", "$0.01 and unknown", "$0.01"]);
    }

    #[test]
    fn an_instant_is_told_in_utc() {
        assert_eq!(instant(0), None);
        assert_eq!(instant(1_795_424_704_123).as_deref(), Some("2026-11-23T09:05:04Z"));
        assert_eq!(instant(951_782_400_000).as_deref(), Some("2000-02-29T00:00:00Z"));
        assert_eq!(instant(-1).as_deref(), Some("1969-12-31T23:59:59Z"));
    }

    #[test]
    fn thousands_are_grouped() {
        let texts = [7, 1_000, 90_000, 1_234_567].map(|number| grouped(number, ','));
        assert_eq!(texts, ["7", "1,000", "90,000", "1,234,567"]);
    }
}
