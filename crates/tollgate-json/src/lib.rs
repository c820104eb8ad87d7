//! Writes what serde serializes as JSON text.
//!
//! The text is the same, byte for byte, as `serde_json::to_string` writes; floating-point numbers and 128-bit integers are refused, because nothing of Tollgate's has any. It exists
//! for WebAssembly, where an answer is some seventy short members, and writing them was two thirds of the time of a reserve: `serde_json` appends each name,
//! quote and colon by itself, and there every append is a call that leaves the module (`memory.copy`). Here a name is written with its punctuation in one loop.

use core::fmt::{self, Display, Write as _};

use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};
use serde::{Serialize, Serializer};

/// Why a value has no JSON text: a float, an integer beyond 64 bits, a map whose key is not text, or what the value itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwritable(String);

impl Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A value as JSON text.
///
/// # Errors
/// The value has none.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, Unwritable> {
    let mut writer = Writer { text: Vec::with_capacity(CAPACITY), is_raw: false };
    value.serialize(&mut writer)?;
    // All that was written are whole texts and ASCII.
    String::from_utf8(writer.text).map_err(ser::Error::custom)
}

/// The name of a struct's field that is written as it is, in the place of a member and its name: a text of whole members without the braces around them, which
/// was written before.
pub const MEMBERS: &str = "$members";

/// A value's members as JSON text, for a field named [`MEMBERS`].
///
/// # Errors
/// The value has no JSON text, or is no object.
pub fn members<T: Serialize + ?Sized>(value: &T) -> Result<Box<str>, Unwritable> {
    let text = to_string(value)?;
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    inside.map(Into::into).ok_or_else(|| ser::Error::custom("not an object"))
}

/// More than most answers have: growing copies what is there.
const CAPACITY: usize = 2048;
/// What 2⁶⁴ takes.
const MAX_DIGITS: usize = 20;
const HEX: &[u8; 16] = b"0123456789abcdef";

struct Writer {
    text: Vec<u8>,
    /// The next text is JSON already.
    is_raw: bool,
}

impl Writer {
    /// A loop, not a copy: what is put is short. Eight bytes at once are one store.
    fn put(&mut self, bytes: &[u8]) {
        self.text.reserve(bytes.len());
        let (eights, rest) = bytes.as_chunks();
        for eight in eights {
            self.put_eight(*eight);
        }
        for byte in rest {
            self.text.push(*byte);
        }
    }

    fn put_eight(&mut self, eight: [u8; 8]) {
        self.text.extend_from_slice(&eight);
    }

    /// Escapes as `serde_json` does.
    fn escaped(&mut self, text: &str) {
        self.text.reserve(text.len());
        let (eights, rest) = text.as_bytes().as_chunks();
        for eight in eights {
            if has_escapes(*eight) {
                eight.iter().for_each(|byte| self.escaped_byte(*byte));
            } else {
                self.put_eight(*eight);
            }
        }
        rest.iter().for_each(|byte| self.escaped_byte(*byte));
    }

    fn escaped_byte(&mut self, byte: u8) {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            self.text.push(byte);
            return;
        }
        self.text.push(b'\\');
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            8 => b'b',
            12 => b'f',
            _ => {
                let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
                self.put(&[b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
                return;
            }
        };
        self.text.push(short);
    }

    fn quoted(&mut self, text: &str) {
        self.text.push(b'"');
        self.escaped(text);
        self.text.push(b'"');
    }

    fn integer(&mut self, negative: bool, mut rest: u64) {
        let mut digits = [0; MAX_DIGITS];
        let mut length = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            length += 1;
            if rest == 0 {
                break;
            }
        }
        if negative {
            self.text.push(b'-');
        }
        self.put(digits.get(MAX_DIGITS - length..).unwrap_or_default());
    }

    fn name(&mut self, name: &'static str) {
        self.text.push(b'"');
        self.put(name.as_bytes());
        self.text.push(b'"');
        self.text.push(b':');
    }

    /// `{"Variant":`, for the variants of an enum that have content.
    fn variant(&mut self, variant: &'static str) {
        self.text.push(b'{');
        self.name(variant);
    }
}

/// Whether any of eight bytes has to be escaped. All are looked at together: a byte from which 1 can only be taken by borrowing was zero, and one from
/// which a space can only be taken by borrowing was below it.
const fn has_escapes(eight: [u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = ONES << 7;
    let bytes = u64::from_le_bytes(eight);
    let quotes = bytes ^ (ONES * b'"' as u64);
    let backslashes = bytes ^ (ONES * b'\\' as u64);
    let below = bytes.wrapping_sub(ONES * b' ' as u64) & !bytes;
    let quote = quotes.wrapping_sub(ONES) & !quotes;
    let backslash = backslashes.wrapping_sub(ONES) & !backslashes;
    (below | quote | backslash) & HIGH_BITS != 0
}

/// What `collect_str` writes through.
struct Escaping<'a>(&'a mut Writer);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.escaped(text);
        Ok(())
    }
}

/// An array or object that has been opened.
struct Members<'a> {
    writer: &'a mut Writer,
    first: bool,
    close: &'static [u8],
}

impl<'a> Members<'a> {
    fn open(writer: &'a mut Writer, open: u8, close: &'static [u8]) -> Self {
        writer.text.push(open);
        Self { writer, first: true, close }
    }

    fn comma(&mut self) {
        if !self.first {
            self.writer.text.push(b',');
        }
        self.first = false;
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.comma();
        value.serialize(&mut *self.writer)
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unwritable> {
        if name == MEMBERS {
            return self.members(value);
        }
        self.comma();
        self.writer.name(name);
        value.serialize(&mut *self.writer)
    }

    fn members<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.comma();
        let start = self.writer.text.len();
        self.writer.is_raw = true;
        value.serialize(&mut *self.writer)?;
        let is_text = !core::mem::take(&mut self.writer.is_raw);
        if is_text && self.writer.text.len() > start { Ok(()) } else { Err(ser::Error::custom("no members")) }
    }

    fn close(self) {
        self.writer.put(self.close);
    }
}

macro_rules! integers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Unwritable> {
            self.integer(false, value.into());
            Ok(())
        })*
    };
}

macro_rules! signed_integers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Unwritable> {
            self.integer(value < 0, value.unsigned_abs().into());
            Ok(())
        })*
    };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Members<'a>;
    type SerializeTuple = Members<'a>;
    type SerializeTupleStruct = Members<'a>;
    type SerializeTupleVariant = Members<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    integers!(serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);
    signed_integers!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64);

    fn serialize_bool(self, value: bool) -> Result<(), Unwritable> {
        self.put(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unwritable> {
        Err(ser::Error::custom("a floating-point number"))
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unwritable> {
        Err(ser::Error::custom("a floating-point number"))
    }

    fn serialize_char(self, value: char) -> Result<(), Unwritable> {
        self.quoted(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Unwritable> {
        if core::mem::take(&mut self.is_raw) {
            self.put(value.as_bytes());
        } else {
            self.quoted(value);
        }
        Ok(())
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        self.text.push(b'"');
        write!(Escaping(self), "{value}").map_err(ser::Error::custom)?;
        self.text.push(b'"');
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Unwritable> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.put(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Unwritable> {
        self.text.push(b'"');
        self.put(variant.as_bytes());
        self.text.push(b'"');
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.variant(variant);
        value.serialize(&mut *self)?;
        self.text.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'a>, Unwritable> {
        Ok(Members::open(self, b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'a>, Unwritable> {
        Ok(Members::open(self, b'[', b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Unwritable> {
        Ok(Members::open(self, b'[', b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Unwritable> {
        self.variant(variant);
        Ok(Members::open(self, b'[', b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Unwritable> {
        Ok(Members::open(self, b'{', b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Unwritable> {
        Ok(Members::open(self, b'{', b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Unwritable> {
        self.variant(variant);
        Ok(Members::open(self, b'{', b"}}"))
    }
}

impl SerializeSeq for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.element(value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl SerializeTuple for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.element(value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl SerializeTupleStruct for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.element(value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl SerializeTupleVariant for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.element(value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.comma();
        let at = self.writer.text.len();
        key.serialize(&mut *self.writer)?;
        // Numbers are quoted, as `serde_json` does.
        match self.writer.text.get(at) {
            Some(b'"') => Ok(()),
            Some(b'-' | b'0'..=b'9') => {
                self.writer.text.insert(at, b'"');
                self.writer.text.push(b'"');
                Ok(())
            }
            _ => Err(ser::Error::custom("a key that is not text")),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.writer.text.push(b':');
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unwritable> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

impl SerializeStructVariant for Members<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unwritable> {
        self.member(name, value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, Serialize)]
    #[serde(rename_all = "camelCase")]
    struct All {
        some_text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        nothing: Option<bool>,
        numbers: (i64, u64, i8, char),
        map: BTreeMap<String, Vec<Kind>>,
        by_number: BTreeMap<i32, Unit>,
        #[serde(flatten)]
        flat: Flat,
        tagged: Vec<Tagged>,
        shown: Shown,
    }

    #[derive(Clone, Debug, Serialize)]
    struct Flat {
        inner: bool,
        wrapped: Wrapped,
    }

    #[derive(Clone, Debug, Serialize)]
    struct Wrapped(String);

    #[derive(Clone, Debug, Serialize)]
    struct Unit;

    #[derive(Clone, Debug, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
        OfOne(String),
        OfTwo(u8, String),
        Named { first: Option<u16>, second: String },
    }

    #[derive(Clone, Debug, Serialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Tagged {
        Nothing,
        Something { value: String },
        Other(Flat),
    }

    #[derive(Clone, Debug)]
    struct Shown(String);

    impl Serialize for Shown {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("<{}>", self.0))
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[ -~]{0,12}",
            proptest::string::string_regex("(?s).{0,8}").unwrap(),
            "[\\x00-\\x20\"\\\\/\u{7f}é€😀]{0,8}"
        ]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Plain),
            text().prop_map(Kind::OfOne),
            (any::<u8>(), text()).prop_map(|(number, text)| Kind::OfTwo(number, text)),
            (any::<Option<u16>>(), text()).prop_map(|(first, second)| Kind::Named { first, second }),
        ]
    }

    fn tagged() -> impl Strategy<Value = Tagged> {
        prop_oneof![
            Just(Tagged::Nothing),
            text().prop_map(|value| Tagged::Something { value }),
            (any::<bool>(), text()).prop_map(|(inner, text)| Tagged::Other(Flat { inner, wrapped: Wrapped(text) })),
        ]
    }

    proptest! {
        #[test]
        fn writes_what_serde_json_writes(
            (some_text, shown, wrapped) in (text(), text(), text()),
            (left_out, nothing, inner) in (any::<Option<u8>>(), any::<Option<bool>>(), any::<bool>()),
            numbers in any::<(i64, u64, i8, char)>(),
            map in prop::collection::btree_map(text(), prop::collection::vec(kind(), 0..3), 0..3),
            keys in prop::collection::btree_set(any::<i32>(), 0..3),
            tagged in prop::collection::vec(tagged(), 0..3),
        ) {
            let all = All {
                some_text,
                left_out,
                nothing,
                numbers,
                map,
                by_number: keys.into_iter().map(|key| (key, Unit)).collect(),
                flat: Flat { inner, wrapped: Wrapped(wrapped) },
                tagged,
                shown: Shown(shown),
            };
            prop_assert_eq!(to_string(&all).unwrap(), serde_json::to_string(&all).unwrap());
        }
    }

    #[test]
    fn every_character_is_seen_wherever_it_stands() {
        for character in ('\0'..='\u{100}').chain(['\u{2028}', '\u{10ffff}']) {
            for before in 0..17 {
                let text = format!("{}{character}{}", "!".repeat(before), "~".repeat(16 - before));
                assert_eq!(to_string(&text).unwrap(), serde_json::to_string(&text).unwrap());
            }
        }
    }

    #[test]
    fn members_are_written_once() {
        #[derive(Serialize)]
        struct Part {
            name: &'static str,
            list: [u8; 2],
        }
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(rename = "$members")]
            before: &'a str,
            own: &'a str,
            #[serde(rename = "$members")]
            after: std::borrow::Cow<'a, str>,
        }
        let part = members(&Part { name: "\"a\"", list: [1, 2] }).unwrap();
        let whole = |before, after| to_string(&Whole { before, own: "x", after: std::borrow::Cow::Borrowed(after) });
        let written = r#"{"name":"\"a\"","list":[1,2],"own":"x","name":"\"a\"","list":[1,2]}"#;
        assert_eq!(whole(&part, &part).unwrap(), written);
        // What could not be written before is not left out.
        assert!(whole("", &part).is_err() && whole(&part, "").is_err());
        assert!(members(&1).is_err());
    }

    #[test]
    fn members_are_a_text() {
        #[derive(Serialize)]
        struct Wrong {
            #[serde(rename = "$members")]
            part: u8,
        }
        assert!(to_string(&Wrong { part: 1 }).is_err());
    }

    #[test]
    fn the_ends_of_integers() {
        for value in [i64::MIN, -1, 0, 9, 10, i64::MAX] {
            assert_eq!(to_string(&value).unwrap(), value.to_string());
        }
        assert_eq!(to_string(&u64::MAX).unwrap(), u64::MAX.to_string());
    }

    #[test]
    fn what_has_no_text_is_an_error() {
        assert!(to_string(&1.5).is_err());
        assert!(to_string(&u128::MAX).is_err());
        assert!(to_string(&BTreeMap::from([(vec![1], 2)])).is_err());
        assert!(to_string(&BTreeMap::from([(None::<String>, 2)])).is_err());
    }
}
