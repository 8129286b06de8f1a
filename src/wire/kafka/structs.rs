//! The macro that turns a description of structures into types with both directions.
//!
//! ```text
//! structs! {
//!     Name<'a> {
//!         [0..]           field: type,               in every version
//!         [1..=7]         field: type = default,     in these; elsewhere it has its default
//!         [0..] ?[1..]    field: Option<type>,       in every version, null from 1 on
//!         tag 3 [9..]     field: type,               tagged
//!     }
//! }
//! ```
//!
//! Fields stand in the order of the wire, tagged ones among them where Kafka lists them; tags
//! ascend. A default counts for structures made with `Default`, for fields that a version lacks,
//! and for tagged fields, which are written only where they differ from it. An `Option` without
//! `?[..]` may be null wherever it stands.

/// The place of a field, for errors.
macro_rules! place {
    ($structure:ident, $field:ident) => {
        &$crate::wire::kafka::Place { structure: stringify!($structure), field: stringify!($field) }
    };
}

/// Is the version in a bracketed range?
macro_rules! within {
    ([$($range:tt)+], $version:expr) => {
        ($($range)+).contains(&$version)
    };
}

/// A default as described, or the type's own.
macro_rules! default_value {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// One of two blocks, by whether there is a tag.
macro_rules! if_tagged {
    (() $tagged:tt $(else $untagged:tt)?) => {
        $($untagged)?
    };
    (($tag:literal) $tagged:tt $(else $untagged:tt)?) => {
        $tagged
    };
}

/// Refuses null in versions without it.
macro_rules! refuse_null {
    ($value:expr, $version:expr) => {};
    ($value:expr, $version:expr, $nulls:tt) => {
        if $value.is_none() && !within!($nulls, $version) {
            return Err(Expected::NotNull);
        }
    };
}

/// Writes a value, or something empty for a null where it is not legal.
macro_rules! write_value {
    ($value:expr, $version:expr, $writer:expr) => {
        $value.write($writer);
    };
    ($value:expr, $version:expr, $writer:expr, $nulls:tt) => {
        $crate::wire::kafka::field::write_or_empty(
            $value.as_ref(),
            within!($nulls, $version),
            $writer,
        );
    };
}

/// See the module.
macro_rules! structs {
    ($(
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? {
            $(
                $(#[$field_meta:meta])*
                $(tag $tag:literal)? [$($versions:tt)+] $(? [$($nulls:tt)+])? $field:ident: $type:ty
                    $(= $default:expr)?
            ),* $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "fields bear the names of Kafka's protocol guide")]
        pub struct $name $(<$life>)? {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $( $field: default_value!($($default)?), )* }
            }
        }

        #[allow(unused, reason = "not every structure has fields, tags or nulls")]
        const _: () = {
            use $crate::wire::kafka::{Expected, Field, Nullable, Place, Reader, Writer};

            impl<'a> Field<'a> for $name $(<$life>)? {
                fn bytes_min(version: i16, is_flexible: bool) -> usize {
                    usize::from(is_flexible)
                    $( + if within!([$($versions)+], version) {
                        if_tagged!(($($tag)?) { 0 } else {
                            <$type as Field<'a>>::bytes_min(
                                version,
                                is_flexible,
                            )
                        })
                    } else {
                        0
                    } )*
                }

                fn read(reader: &mut Reader<'a>) -> Result<Self, Expected> {
                    let version = reader.version();
                    let mut value = Self::default();
                    $( if_tagged!(($($tag)?) {} else {
                        if within!([$($versions)+], version) {
                            reader.enter(place!($name, $field));
                            value.$field = Field::read(reader)?;
                            refuse_null!(value.$field, version $(, [$($nulls)+])?);
                        }
                    }); )*
                    if reader.is_flexible() {
                        let mut tags = reader.tags()?;
                        while let Some(tag) = reader.next_tag(&mut tags)? {
                            $( if_tagged!(($($tag)?) {
                                if tag == ($($tag)?) && within!([$($versions)+], version) {
                                    reader.enter(place!($name, $field));
                                    value.$field = Field::read(reader)?;
                                    reader.end_tag(&tags)?;
                                    continue;
                                }
                            }); )*
                            reader.skip_tag(&tags);
                        }
                    }
                    Ok(value)
                }

                fn write(&self, writer: &mut Writer<'_>) {
                    let version = writer.version();
                    $( if_tagged!(($($tag)?) {} else {
                        if within!([$($versions)+], version) {
                            write_value!(self.$field, version, writer $(, [$($nulls)+])?);
                        }
                    }); )*
                    if writer.is_flexible() {
                        let unset = Self::default();
                        let tag_count = 0 $( + if_tagged!(($($tag)?) {
                            u32::from(
                                within!([$($versions)+], version) && self.$field != unset.$field
                            )
                        } else 0) )*;
                        writer.varint(tag_count);
                        $( if_tagged!(($($tag)?) {
                            if within!([$($versions)+], version) && self.$field != unset.$field {
                                writer.tagged($($tag)?, &self.$field);
                            }
                        }); )*
                    }
                }
            }

            impl<'a> Nullable<'a> for $name $(<$life>)? {
                fn nullable_bytes_min(_version: i16, _is_flexible: bool) -> usize {
                    1
                }

                fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Expected> {
                    let [presence] = reader.array()?;
                    // Kafka writes -1 or 1, and takes anything negative for null.
                    if 0x7f < presence { Ok(None) } else { Self::read(reader).map(Some) }
                }

                fn write_some(&self, writer: &mut Writer<'_>) {
                    writer.put(&[1]);
                    self.write(writer);
                }

                fn write_null(writer: &mut Writer<'_>) {
                    writer.put(&[u8::MAX]);
                }

                fn write_empty(writer: &mut Writer<'_>) {
                    Self::default().write(writer);
                }
            }
        };
    )* };
}
