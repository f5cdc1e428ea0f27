//! Property tests of reading and writing.

use proptest::prelude::*;

use super::{Int, Object, Text, Value, parse, parse_str};

fn text() -> impl Strategy<Value = Text> {
    // Any code points below 0x11_0000, surrogates included.
    let code = prop_oneof![0x20_u32..0x7f, 0_u32..0x300, 0xd7f0_u32..0xe010, 0_u32..0x11_0000];
    prop::collection::vec(code, 0..12).prop_map(Text::from_code_points)
}

fn value() -> impl Strategy<Value = Value> {
    let big = "-?[1-9][0-9]{20,40}".prop_map(|text| Int::parse(&text).map_or(Value::Null, Value::Int));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        big,
        prop::num::f64::ANY.prop_filter("NaN equals nothing", |f| !f.is_nan()).prop_map(Value::Float),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::vec((text(), inner), 0..24)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Object>())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in value()) {
        for written in [value.to_canonical(), value.to_line(), value.to_pretty()] {
            prop_assert!(written.is_ascii());
            let read = parse_str(&written).expect("own output");
            prop_assert_eq!(&read, &value);
            prop_assert_eq!(read.to_canonical(), value.to_canonical());
        }
        prop_assert_eq!(parse_str(&value.to_line()).expect("own output").to_line(), value.to_line());
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn nearly_json_does_no_harm(text in r#"[\[\]{}",:0-9.eE+\-\\untrfalsNI é]{0,60}"#) {
        if let Ok(value) = parse_str(&text) {
            prop_assert_eq!(parse_str(&value.to_line()).expect("own output").to_line(), value.to_line());
        }
    }

    #[test]
    fn integers_compare_as_numbers(a in any::<i64>(), b in any::<i64>()) {
        // With the same offset in front both become big; the order must stay that of the numbers.
        let big = |n: i64| Int::parse(&(i128::from(n) + (1_i128 << 100)).to_string()).expect("decimal");
        prop_assert_eq!(big(a).cmp(&big(b)), a.cmp(&b));
    }
}
