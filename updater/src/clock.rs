//! Wall-clock time as TUF writes it: whole seconds, UTC, RFC 3339.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub type Seconds = i64;

/// The system's clock, however wrong.
pub fn now() -> Seconds {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(d) => i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// `2026-01-31T12:00:00Z`. The calendar arithmetic counts years from March so that leap days come last.
pub fn format(t: Seconds) -> String {
    let (days, rest) = (t.div_euclid(86_400), t.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}Z")
}

/// Reads what [`format()`] writes; `None` for any other spelling.
pub fn parse(text: &str) -> Option<Seconds> {
    let field = |range: std::ops::Range<usize>| -> Option<i64> {
        let part = text.get(range)?;
        part.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| part.parse().ok())?
    };
    let (y, m, d) = (field(0..4)?, field(5..7)?, field(8..10)?);
    let (h, min, s) = (field(11..13)?, field(14..16)?, field(17..19)?);
    let year = y - i64::from(m <= 2);
    let (era, yoe) = (year.div_euclid(400), year.rem_euclid(400));
    let mp = if m > 2 { m - 3 } else { m + 9 };
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 + d - 1 - 719_468;
    let t = days * 86_400 + h * 3600 + min * 60 + s;
    (format(t) == text).then_some(t)
}

#[cfg(test)]
mod tests {
    #[test]
    fn round_trips_and_refuses_other_spellings() {
        for t in [0, 951_782_400, 1_709_164_800, 4_102_444_799, 1_700_000_000] {
            assert_eq!(super::parse(&super::format(t)), Some(t));
        }
        assert_eq!(super::format(951_782_400), "2000-02-29T00:00:00Z");
        for bad in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+00:00",
        ] {
            assert_eq!(super::parse(bad), None, "{bad}");
        }
    }
}
