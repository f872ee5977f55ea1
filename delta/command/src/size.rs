//! Sizes on the command line: a number with an optional binary suffix.

/// Parses `65536`, `64k`, `64M`, `64MiB`, `2G` into bytes; all suffixes are powers of 1024.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix
        .to_ascii_lowercase()
        .trim_end_matches("ib")
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("unknown suffix {suffix:?}; use k, M, G or T")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "a number was expected, such as 64M".to_string())?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| "too large".to_string())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn suffixes_are_binary() {
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("64k"), Ok(65_536));
        assert_eq!(parse("64MiB"), Ok(64 << 20));
        assert_eq!(parse("2GB"), Ok(2 << 30));
        for bad in ["", "M", "-1", "1x", "99999999T", "1.5G"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
