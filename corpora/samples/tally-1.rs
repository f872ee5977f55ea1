//! tally: reads "key value" lines, groups them by key, and prints a column computed from an expression.
//!
//! A sample program for offline use: real enough to have a parser, maps, formatting and error paths.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};

const VERSION: &str = "1.0.0";
const USAGE: &str = "usage: tally [-v] [-e EXPRESSION] < lines
  EXPRESSION may use: n sum min max mean, numbers, + - * /, parentheses, sqrt(x), abs(x)";

#[derive(Debug)]
enum Problem {
    Usage(String),
    Syntax { at: usize, expected: &'static str },
    UnknownName(String),
    BadLine { number: usize, line: String },
    Io(io::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Usage(what) => write!(f, "{what}\n{USAGE}"),
            Problem::Syntax { at, expected } => write!(f, "expression: expected {expected} at column {}", at + 1),
            Problem::UnknownName(name) => write!(f, "expression: nothing is called {name:?}"),
            Problem::BadLine { number, line } => write!(f, "line {number}: no number in {line:?}"),
            Problem::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Problem::Io(error)
    }
}

/// An expression over one group.
#[derive(Debug)]
enum Expression {
    Number(f64),
    Field(Field),
    Negate(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    Call(Function, Box<Expression>),
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Count,
    Sum,
    Min,
    Max,
    Mean,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

#[derive(Clone, Copy, Debug)]
enum Function {
    Sqrt,
    Abs,
}

/// A recursive-descent parser over bytes.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { text: text.as_bytes(), at: 0 }
    }

    fn parse(mut self) -> Result<Expression, Problem> {
        let expression = self.sum()?;
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(Problem::Syntax { at: self.at, expected: "the end" });
        }
        Ok(expression)
    }

    fn sum(&mut self) -> Result<Expression, Problem> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Some(b'+') => Operator::Add,
                Some(b'-') => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.product()?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
    }

    fn product(&mut self) -> Result<Expression, Problem> {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Some(b'*') => Operator::Multiply,
                Some(b'/') => Operator::Divide,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.unary()?;
            left = Expression::Binary(operator, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self) -> Result<Expression, Problem> {
        if self.peek() == Some(b'-') {
            self.at += 1;
            return Ok(Expression::Negate(Box::new(self.unary()?)));
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Expression, Problem> {
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                let inner = self.sum()?;
                self.close()?;
                Ok(inner)
            }
            Some(byte) if byte.is_ascii_digit() || byte == b'.' => self.number(),
            Some(byte) if byte.is_ascii_alphabetic() => self.name(),
            _ => Err(Problem::Syntax { at: self.at, expected: "a number, a name or (" }),
        }
    }

    fn number(&mut self) -> Result<Expression, Problem> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
            self.at += 1;
        }
        let text = String::from_utf8_lossy(&self.text[start..self.at]);
        match text.parse() {
            Ok(value) => Ok(Expression::Number(value)),
            Err(_) => Err(Problem::Syntax { at: start, expected: "a number" }),
        }
    }

    fn name(&mut self) -> Result<Expression, Problem> {
        let start = self.at;
        while self.text.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric()) {
            self.at += 1;
        }
        let name = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        if self.peek() == Some(b'(') {
            self.at += 1;
            let function = match name.as_str() {
                "sqrt" => Function::Sqrt,
                "abs" => Function::Abs,
                _ => return Err(Problem::UnknownName(name)),
            };
            let inner = self.sum()?;
            self.close()?;
            return Ok(Expression::Call(function, Box::new(inner)));
        }
        let field = match name.as_str() {
            "n" => Field::Count,
            "sum" => Field::Sum,
            "min" => Field::Min,
            "max" => Field::Max,
            "mean" => Field::Mean,
            _ => return Err(Problem::UnknownName(name)),
        };
        Ok(Expression::Field(field))
    }

    fn close(&mut self) -> Result<(), Problem> {
        if self.peek() != Some(b')') {
            return Err(Problem::Syntax { at: self.at, expected: ")" });
        }
        self.at += 1;
        Ok(())
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }
}

/// What is kept of the values of one key.
#[derive(Clone, Debug)]
struct Group {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Group {
    fn new() -> Self {
        Group { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn field(&self, field: Field) -> f64 {
        match field {
            Field::Count => self.count as f64,
            Field::Sum => self.sum,
            Field::Min => self.min,
            Field::Max => self.max,
            Field::Mean => self.sum / self.count as f64,
        }
    }
}

fn evaluate(expression: &Expression, group: &Group) -> f64 {
    match expression {
        Expression::Number(value) => *value,
        Expression::Field(field) => group.field(*field),
        Expression::Negate(inner) => -evaluate(inner, group),
        Expression::Binary(operator, left, right) => {
            let (left, right) = (evaluate(left, group), evaluate(right, group));
            match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide => left / right,
            }
        }
        Expression::Call(function, inner) => {
            let value = evaluate(inner, group);
            match function {
                Function::Sqrt => value.sqrt(),
                Function::Abs => value.abs(),
            }
        }
    }
}

fn read_groups(input: impl BufRead) -> Result<BTreeMap<String, Group>, Problem> {
    let mut groups = BTreeMap::new();
    for (index, line) in input.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let value = line.rsplit_once(char::is_whitespace).and_then(|(key, value)| Some((key.trim(), value.parse().ok()?)));
        let Some((key, value)) = value else {
            return Err(Problem::BadLine { number: index + 1, line });
        };
        groups.entry(key.to_string()).or_insert_with(Group::new).add(value);
    }
    Ok(groups)
}

fn print_table(out: &mut impl Write, groups: &BTreeMap<String, Group>, expression: &Expression) -> Result<(), Problem> {
    let width = groups.keys().map(|key| key.chars().count()).max().unwrap_or(0).max(3);
    writeln!(out, "{:<width$} {:>8} {:>14}", "key", "n", "value")?;
    for (key, group) in groups {
        let value = evaluate(expression, group);
        writeln!(out, "{key:<width$} {:>8} {value:>14.4}", group.count)?;
    }
    Ok(())
}

fn run() -> Result<(), Problem> {
    let mut text = String::from("sum");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-v" => {
                println!("tally {VERSION}");
                return Ok(());
            }
            "-e" => match arguments.next() {
                Some(expression) => text = expression,
                None => return Err(Problem::Usage("-e needs an expression".into())),
            },
            other => return Err(Problem::Usage(format!("unknown argument {other}"))),
        }
    }
    let expression = Parser::new(&text).parse()?;
    let groups = read_groups(io::stdin().lock())?;
    print_table(&mut io::stdout().lock(), &groups, &expression)
}

fn main() {
    if let Err(problem) = run() {
        eprintln!("tally: {problem}");
        std::process::exit(if matches!(problem, Problem::Usage(_)) { 2 } else { 1 });
    }
}
