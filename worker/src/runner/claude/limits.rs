//! When an account can be used again, where the program says so: in an event, in the delay of a retry,
//! or in words.

use serde_json::Value;

/// No limit of an account lasts longer; a later reset is a misunderstanding.
const LONGEST_SECONDS: u64 = 8 * 24 * 3600;

const DAY_MINUTES: u64 = 24 * 60;

/// The reset that an event names, in seconds since 1970.
pub(super) fn reset_of(event: &Value) -> Option<u64> {
    let info = event.get("rate_limit_info").or_else(|| event.pointer("/api_error_params/rate_limit_info"))?;
    if info["status"].as_str() != Some("rejected") {
        return None;
    }
    info["resetsAt"].as_u64()
}

/// Milliseconds from now to a reset that was named as a time; None for what is no near future.
pub(super) fn until(reset: u64, now: u64) -> Option<u64> {
    let left = reset.checked_sub(now)?;
    (left <= LONGEST_SECONDS).then(|| left.saturating_mul(1000))
}

/// Milliseconds from now to a reset that is told in words: "...|1795444726", or "resets 2:38pm (UTC)".
/// Another time zone is not understood: its rules are not known here.
pub(super) fn told(text: &str, now: u64) -> Option<u64> {
    let after_bar = text.rsplit_once('|').and_then(|(_, rest)| rest.trim().parse().ok());
    if let Some(wait) = after_bar.and_then(|reset| until(reset, now)) {
        return Some(wait);
    }
    let (_, rest) = text.split_once("resets ")?;
    let (time, zone) = rest.split_once('(')?;
    let minute = minute_of_day(time.trim().trim_start_matches("at ").trim())?;
    if !zone.starts_with("UTC)") {
        return None;
    }
    let now_minute = now / 60 % DAY_MINUTES;
    let minutes = (minute + DAY_MINUTES - now_minute) % DAY_MINUTES;
    // The time itself is named without its seconds.
    let minutes = if minutes == 0 { 1 } else { minutes };
    Some(minutes * 60_000)
}

/// "3pm" or "2:38pm".
fn minute_of_day(time: &str) -> Option<u64> {
    let (digits, is_afternoon) = match (time.strip_suffix("am"), time.strip_suffix("pm")) {
        (Some(digits), _) => (digits, false),
        (_, Some(digits)) => (digits, true),
        _ => return None,
    };
    let (hour, minute) = digits.split_once(':').unwrap_or((digits, "0"));
    let (hour, minute): (u64, u64) = (hour.parse().ok()?, minute.parse().ok()?);
    if !(1..=12).contains(&hour) || minute > 59 {
        return None;
    }
    Some((hour % 12 + if is_afternoon { 12 } else { 0 }) * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 12:38:46 UTC.
    const NOW: u64 = 1_795_437_526;

    #[test]
    fn a_reset_is_understood_as_a_number_and_as_a_time_of_day() {
        assert_eq!(told("Claude AI usage limit reached|1795437586", NOW), Some(60_000));
        assert_eq!(told("You've hit your 5-hour limit · resets 2:38pm (UTC)", NOW), Some(7_200_000));
        assert_eq!(told("limit reached · resets at 11am (UTC)", NOW), Some((22 * 60 + 22) * 60_000));
        assert_eq!(told("resets 12am (UTC)", NOW), Some((11 * 60 + 22) * 60_000));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        for text in ["resets 3pm (Europe/Rome)", "resets soon", "resets 13pm (UTC)", "a|b", "x|5", ""] {
            assert_eq!(told(text, NOW), None, "{text}");
        }
        assert_eq!(until(NOW - 1, NOW), None);
        assert_eq!(until(NOW + LONGEST_SECONDS + 1, NOW), None);
    }
}
