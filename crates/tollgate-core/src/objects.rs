//! Structs that are read from JSON objects, and from nothing else.

use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};

use crate::sorted_map::SortedMap;

/// A struct that is written as an object. Left to itself, serde also reads an array as a struct, member by member; an array has no names,
/// so nothing that is wrong could be refused by its name.
pub(crate) struct Object<T>(pub(crate) T);

/// For a field that is a struct: an object, and nothing else.
///
/// # Errors
/// As the struct's own.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// For a field that is a struct or left out.
///
/// # Errors
/// As the struct's own.
pub(crate) fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(value)| value))
}

/// For a field that is a map of structs.
///
/// # Errors
/// As the structs' own.
pub(crate) fn map_of_objects<'de, D, K, T>(deserializer: D) -> Result<SortedMap<K, T>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    T: Deserialize<'de>,
{
    let map = SortedMap::<K, Object<T>>::deserialize(deserializer)?;
    Ok(map.into_iter().map(|(key, Object(value))| (key, value)).collect())
}

/// For a field that is a struct which is shared.
///
/// # Errors
/// As the struct's own.
pub(crate) fn shared_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Arc<T>, D::Error> {
    object(deserializer).map(Arc::new)
}

/// For a field that is a list of structs.
///
/// # Errors
/// As the structs' own.
pub(crate) fn list_of_objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list = Vec::<Object<T>>::deserialize(deserializer)?;
    Ok(list.into_iter().map(|Object(value)| value).collect())
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}
