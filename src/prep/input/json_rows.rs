//! Rows of a JSON Lines file: one JSON object (RFC 8259) on each line, its keys the names of columns, its values strings
//! or whole numbers.
//!
//! Everything else is a fault: a number with a fraction or an exponent would not come out as it was written, and a key that
//! stands twice has no one value. Not here: rules for values (`check`).

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use super::decode::DecodedText;
use super::lines::ROW_MAX;
use super::{InputError, InputPlace, InputSchema, RejectedLine, RowValues, SourceFormat, SourceRow, header};

/// Reads the rows of a JSON Lines file.
pub(super) struct JsonRows<'a, R> {
    schema: &'a InputSchema,
    format: SourceFormat,
    /// Name of the file, if there are several.
    file: Option<Arc<str>>,
    text: BufReader<DecodedText<R>>,
    /// Number of lines read.
    lines: u64,
}

impl<'a, R: Read> JsonRows<'a, R> {
    pub fn new(source: R, format: SourceFormat, file: Option<Arc<str>>, schema: &'a InputSchema) -> Self {
        let text = BufReader::new(DecodedText::new(source, format.encoding));
        Self { schema, format, file, text, lines: 0 }
    }

    /// The place of the first card.
    pub fn first(&self) -> InputPlace {
        InputPlace { file: self.file.clone(), line: 1 }
    }

    /// Reads the next row; `None` at the end.
    pub fn read(&mut self) -> Result<Option<SourceRow>, RejectedLine> {
        let mut line = Zeroizing::new(Vec::new());
        while line.trim_ascii().is_empty() {
            line.clear();
            let limit = u64::try_from(ROW_MAX).unwrap_or(u64::MAX);
            let read = (&mut self.text).take(limit).read_until(b'\n', &mut line);
            if read.map_err(|e| InputError::Io(e.kind()))? == 0 {
                return Ok(None);
            }
            self.lines += 1;
        }
        let place = InputPlace { file: self.file.clone(), line: self.lines };
        if line.len() >= ROW_MAX && !line.ends_with(b"\n") {
            return Err(InputError::RowTooLong { place }.into());
        }
        let fail = |what: String| InputError::Line { place: place.clone(), what };
        let text = std::str::from_utf8(&line)
            .map_err(|_| fail(format!("is not {}", self.format.encoding_name())))?;
        // The message of the parser may quote the line.
        let object: JsonObject = serde_json::from_str(text)
            .map_err(|e| fail(format!("is no JSON object; the fault is at byte {}", e.column())))?;
        self.row(object, place).map(Some)
    }

    /// Puts the values of an object under their columns.
    fn row(&self, object: JsonObject, place: InputPlace) -> Result<SourceRow, RejectedLine> {
        let names: Vec<&str> = object.0.iter().map(|(name, _)| name.as_str()).collect();
        header::keys(&names, &place, self.schema)?;
        let (mut values, mut faults) = (RowValues::default(), Vec::new());
        for (name, value) in object.0 {
            match (self.schema.by_name(&name), value) {
                (_, JsonScalar::Other(what)) => {
                    let what = format!("{what}; a value is a string or a whole number");
                    faults.push(InputError::Value { place: place.clone(), column: name, what });
                }
                (Some(column), JsonScalar::Text(text)) if !text.is_empty() => {
                    values.insert(column, &text);
                }
                _ => {}
            }
        }
        match faults.is_empty() {
            true => Ok(SourceRow { values, ..SourceRow::at(place) }),
            false => Err(RejectedLine { card_ref: None, faults }),
        }
    }
}

/// Keys and values in the order of the line.
struct JsonObject(Vec<(String, JsonScalar)>);

/// A value: a text, or what else it is.
enum JsonScalar {
    Text(Zeroizing<String>),
    Other(&'static str),
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(JsonObject(entries))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for JsonScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = JsonScalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Text(Zeroizing::new(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Text(Zeroizing::new(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Text(Zeroizing::new(number.to_string())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Other("is a number with a fraction or an exponent, or of more than 19 digits"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Other("is true or false"))
    }

    fn visit_unit<E>(self) -> Result<JsonScalar, E> {
        Ok(JsonScalar::Other("is null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonScalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonScalar::Other("is a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonScalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(JsonScalar::Other("is an object"))
    }
}
