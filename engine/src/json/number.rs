//! Numbers: integers of any size, and floats in the text Python gives them.

use std::cmp::Ordering;
use std::fmt;

/// An integer of any size.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Int(Repr);

/// `Big` holds the normalised decimal text of what does not fit `Small`, so equal numbers have equal representations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Repr {
    Small(i64),
    Big(Box<str>),
}

impl Int {
    /// Reads decimal digits with an optional minus sign; `None` for anything else. `-0` is 0.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if let Ok(small) = text.parse() {
            return Some(Self(Repr::Small(small)));
        }
        // Only a number too large fails to parse; leading zeros are not part of the normal form.
        let digits = digits.trim_start_matches('0');
        let sign = if negative { "-" } else { "" };
        Some(Self(Repr::Big(format!("{sign}{digits}").into())))
    }

    /// The number, if it fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Small(small) => Some(*small),
            Repr::Big(_) => None,
        }
    }

    /// The number, if it is not negative and fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Small(small) => u64::try_from(*small).ok(),
            Repr::Big(text) => text.parse().ok(),
        }
    }

    /// The nearest float; infinite if it is out of range.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        // The standard parser rounds correctly, a cast of parts would not.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// Compares with a float exactly, without rounding either; `None` for NaN.
    #[must_use]
    pub fn compare_float(&self, float: f64) -> Option<Ordering> {
        if float.is_nan() {
            return None;
        }
        if float.is_infinite() {
            return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
        }
        let whole = float.trunc();
        // `{:.0}` writes all digits of a whole float.
        let other = Self::parse(&format!("{whole:.0}"))?;
        Some(self.cmp(&other).then_with(|| 0.0.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal)))
    }

    fn parts(text: &str) -> (bool, &str) {
        text.strip_prefix('-').map_or((false, text), |digits| (true, digits))
    }
}

impl Ord for Int {
    fn cmp(&self, other: &Self) -> Ordering {
        if let (Repr::Small(a), Repr::Small(b)) = (&self.0, &other.0) {
            return a.cmp(b);
        }
        let (a, b) = (self.to_string(), other.to_string());
        match (Self::parts(&a), Self::parts(&b)) {
            ((true, _), (false, _)) => Ordering::Less,
            ((false, _), (true, _)) => Ordering::Greater,
            ((false, a), (false, b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
            ((true, a), (true, b)) => b.len().cmp(&a.len()).then_with(|| b.cmp(a)),
        }
    }
}

impl PartialOrd for Int {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Small(small) => write!(f, "{small}"),
            Repr::Big(text) => f.write_str(text),
        }
    }
}

impl From<i64> for Int {
    fn from(number: i64) -> Self {
        Self(Repr::Small(number))
    }
}

impl From<u64> for Int {
    fn from(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(small) => Self(Repr::Small(small)),
            Err(_) => Self(Repr::Big(number.to_string().into())),
        }
    }
}

/// A float in Python's text: the shortest digits that read back as the same number, with an exponent only below 1e-4
/// and from 1e16. Not-a-number and the infinities are written `NaN`, `Infinity`, `-Infinity`.
#[must_use]
pub fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // Rust writes as few digits, always as d.ddde±x; only their layout differs.
    let scientific = shortest(float.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    let sign = if float.is_sign_negative() { "-" } else { "" };
    if !(-4..16).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{direction}{:02}", exponent.unsigned_abs());
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = usize::try_from(exponent + 1).unwrap_or(1);
    if digits.len() <= whole {
        return format!("{sign}{digits}{}.0", "0".repeat(whole - digits.len()));
    }
    let (before, after) = digits.split_at(whole);
    format!("{sign}{before}.{after}")
}

/// The shortest digits with an exponent. Of two that are equally near, Python takes the even one, as exact rounding does.
fn shortest(float: f64) -> String {
    let text = format!("{float:e}");
    let digits = text.split('e').next().unwrap_or_default().chars().filter(char::is_ascii_digit).count();
    let exact = format!("{float:.*e}", digits.saturating_sub(1));
    if exact.parse() == Ok(float) { exact } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(text: &str) -> Int {
        Int::parse(text).expect("decimal text")
    }

    #[test]
    fn floats_are_written_as_python_does() {
        let cases: [(f64, &str); 16] = [
            (77_440_208_125_918.13, "77440208125918.12"),
            (1.0, "1.0"),
            (1e5, "100000.0"),
            (1e16, "1e+16"),
            (1e-7, "1e-07"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (1e15, "1000000000000000.0"),
            (1.234_567_890_123_456_8e16, "1.2345678901234568e+16"),
            (-0.0, "-0.0"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123.456, "123.456"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ];
        for (float, text) in cases {
            assert_eq!(float_repr(float), text);
        }
    }

    #[test]
    fn integers_of_any_size_are_kept_and_compared() {
        assert_eq!(int("-0").to_string(), "0");
        assert_eq!(int("123456789012345678901234567890").to_string(), "123456789012345678901234567890");
        assert_eq!(int("18446744073709551615").as_u64(), Some(u64::MAX));
        assert!(int("-123456789012345678901234567890") < int("-5"));
        assert!(int("123456789012345678901234567890") > int("99999999999999999999"));
        assert!(int("-123456789012345678901234567890") > int("-123456789012345678901234567891"));
        assert_eq!(Int::parse("1.0"), None);
        assert_eq!(Int::parse("-"), None);
    }

    #[test]
    fn comparison_with_floats_does_not_round() {
        assert_eq!(int("9007199254740993").compare_float(9_007_199_254_740_992.0), Some(Ordering::Greater));
        assert_eq!(int("1").compare_float(1.0), Some(Ordering::Equal));
        assert_eq!(int("1").compare_float(1.5), Some(Ordering::Less));
        assert_eq!(int("-1").compare_float(-1.5), Some(Ordering::Greater));
        assert_eq!(int("1").compare_float(f64::NAN), None);
        assert_eq!(int("1").compare_float(f64::INFINITY), Some(Ordering::Less));
    }
}
