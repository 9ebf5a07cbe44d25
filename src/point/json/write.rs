//! Points as the JSON body that DataKit would send.

use crate::point::{Point, Text, Value};

/// Writes points as DataKit's JSON body, with times in nanoseconds.
pub fn encode(points: &[Point]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, point) in points.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"measurement\":");
        write_json(&mut out, point.measurement());
        out.extend_from_slice(b",\"tags\":");
        encode_map(&mut out, point.tags(), |out, value| write_json(out, value.as_ref()));
        out.extend_from_slice(b",\"fields\":");
        encode_map(&mut out, point.fields(), encode_value);
        out.extend_from_slice(b",\"time\":");
        write_json(&mut out, &point.time_ns());
        out.push(b'}');
    }
    out.push(b']');
    out
}

fn encode_map<V>(out: &mut Vec<u8>, entries: &[(Text, V)], encode: impl Fn(&mut Vec<u8>, &V)) {
    out.push(b'{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_json(out, key);
        out.push(b':');
        encode(out, value);
    }
    out.push(b'}');
}

pub(in crate::point) fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Float(number) => write_json(out, number),
        Value::Int(number) => write_json(out, number),
        Value::Uint(number) => write_json(out, number),
        Value::Bool(truth) => write_json(out, truth),
        Value::Str(text) => write_json(out, text),
    }
}

pub(super) fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("text and finite numbers can be written to memory");
}
