//! Wall-clock time as TUF writes it: whole seconds, UTC, RFC 3339.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub type Seconds = i64;

/// The system's clock, however wrong.
pub fn now() -> Seconds {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// The last second that RFC 3339 can write.
const LAST: Seconds = 253_402_300_799;

/// `2026-01-31T12:00:00Z`; what is before 1970 or behind the year 9999 is told as the first or the last second.
pub fn format(t: Seconds) -> String {
    let since = Duration::from_secs(t.clamp(0, LAST).unsigned_abs());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

/// Reads what [`format()`] writes; `None` for any other spelling.
pub fn parse(text: &str) -> Option<Seconds> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH);
    let t = i64::try_from(since.ok()?.as_secs()).ok()?;
    (format(t) == text).then_some(t)
}

#[cfg(test)]
mod tests {
    use super::{LAST, Seconds, format};

    #[test]
    fn what_has_no_spelling_is_told_as_the_nearest_that_has() {
        for (t, text) in [
            (-1, "1970-01-01T00:00:00Z"),
            (LAST + 1, "9999-12-31T23:59:59Z"),
            (Seconds::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(format(t), text);
        }
    }

    #[test]
    fn round_trips_and_refuses_other_spellings() {
        for t in [0, LAST, 951_782_400, 1_709_164_800, 4_102_444_799, 1_700_000_000] {
            assert_eq!(super::parse(&format(t)), Some(t));
        }
        assert_eq!(format(951_782_400), "2000-02-29T00:00:00Z");
        for bad in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+00:00",
            "2026-01-01T00:00:00.5Z",
            "2026-01-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
        ] {
            assert_eq!(super::parse(bad), None, "{bad}");
        }
    }
}
