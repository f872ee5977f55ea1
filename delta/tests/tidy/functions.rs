//! How long the functions of a text are, and how much each asks for.

/// A function: its name, its lines, and its parameters, those inside a tuple one by one and `self` left out.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub lines: usize,
    pub parameters: usize,
}

/// The text from `from` up to where the bracket there is closed, brackets of all kinds counted; an arrow is none.
fn closed(text: &str, from: usize, angles: bool) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0;
    for (i, &c) in bytes.iter().enumerate().skip(from) {
        match c {
            b'(' | b'[' | b'{' => depth += 1,
            b'<' if angles => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            b'>' if angles && !matches!(bytes[i - 1], b'-' | b'=') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    text.len()
}

/// The pieces of a list between its commas, those inside brackets left alone.
fn pieces(list: &str) -> Vec<&str> {
    let (mut found, mut from, mut at) = (Vec::new(), 0, 0);
    while let Some(c) = list[at..].chars().next() {
        match c {
            '(' | '[' | '{' | '<' => at = closed(list, at, true),
            ',' => {
                found.push(list[from..at].trim());
                at += 1;
                from = at;
            }
            c => at += c.len_utf8(),
        }
    }
    found.push(list[from..].trim());
    found.retain(|piece| !piece.is_empty());
    found
}

/// How much a list of parameters asks for.
fn parameters(list: &str) -> usize {
    let one = |piece: &str| match piece.strip_prefix('(') {
        Some(_) => pieces(&piece[1..closed(piece, 0, true) - 1]).len(),
        None if piece.split([' ', '&']).any(|word| word == "self") => 0,
        None => 1,
    };
    pieces(list).into_iter().map(one).sum()
}

/// All functions of a text that have a body.
pub fn functions(text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn ") {
        let begins = at == 0 || text[..at].ends_with(char::is_whitespace);
        let rest = &text[at + 3..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(0);
        if !begins || end == 0 {
            continue;
        }
        let mut open = at + 3 + end;
        if text[open..].starts_with('<') {
            open = closed(text, open, true);
        }
        if !text[open..].starts_with('(') {
            continue;
        }
        let close = closed(text, open, false);
        let Some(body) = text[close..].find(['{', ';']).map(|i| close + i) else {
            continue;
        };
        if text[body..].starts_with('{') {
            found.push(Function {
                name: rest[..end].to_string(),
                lines: text[at..closed(text, body, false)].lines().count(),
                parameters: parameters(&text[open + 1..close - 1]),
            });
        }
    }
    found
}

#[test]
fn lines_and_parameters_are_counted() {
    let text = "fn a<S: F<u8>>(\n    &mut self,\n    (b, c): (u8, Vec<(u8, u8)>),\n    d: &dyn Fn(u8, u8) -> bool,\n) -> u8 {\n    { 0 }\n}\nfn b();\n";
    let expected = Function {
        name: "a".into(),
        lines: 7,
        parameters: 3,
    };
    assert_eq!(functions(text), [expected]);
}
