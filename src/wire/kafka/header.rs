//! The headers in front of every message, and whole requests and responses.
//!
//! ```text
//! request, version 1 and 2                    response, version 0 and 1
//! 0  i32     bytes that follow                0  i32     bytes that follow
//! 4  i16     api key                          4  i32     correlation id
//! 6  i16     version of the api               8          tagged fields (version 1 only)
//! 8  i32     correlation id                   ..         body
//! 12 string  client id, or null; always with a length of 16 bits
//! ..         tagged fields (version 2 only)
//! ..         body
//! ```
//!
//! Version 0 of the request's header, without a client id, belonged to `ControlledShutdown` alone.

use super::api::{ApiKey, Message};
use super::error::{Expected, KafkaError, Place};
use super::field::{Field, Nullable};
use super::reader::Reader;
use super::writer::{Frame, Writer};

/// What stands in front of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// Which request this is.
    pub api: ApiKey,
    /// Version of its body; not yet compared with the versions served.
    pub version: i16,
    /// Chosen by the client, repeated in the response.
    pub correlation_id: i32,
    /// What the client calls itself: any text of up to 32,767 bytes, control characters included.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads the header of a frame whose prefix is gone, and answers the body behind it.
    ///
    /// A version that is not served is no error here: `ApiVersions` must be answered whatever the
    /// version, since it is how a client learns of them.
    pub fn decode(frame: &'a [u8]) -> Result<(RequestHeader<'a>, &'a [u8]), KafkaError> {
        let mut reader = Reader::new(frame, 1, false);
        let (number, version) = read_api(&mut reader).map_err(|e| reader.error(None, e))?;
        let api = ApiKey::from_number(number).ok_or(KafkaError::UnknownApi(number))?;
        let header = read_header(&mut reader, api, version);
        let header = header.map_err(|expected| reader.error(Some(api), expected))?;
        Ok((header, reader.rest()))
    }

    fn encode(&self, frame: &mut Frame) {
        let mut writer = Writer::new(frame, 1, false);
        self.api.number().write(&mut writer);
        self.version.write(&mut writer);
        self.correlation_id.write(&mut writer);
        self.client_id.write(&mut writer);
        if self.api.is_flexible(self.version) {
            writer.varint(0);
        }
    }
}

fn read_api(reader: &mut Reader<'_>) -> Result<(i16, i16), Expected> {
    reader.enter(&Place { structure: "RequestHeader", field: "api_key" });
    let number = i16::read(reader)?;
    reader.enter(&Place { structure: "RequestHeader", field: "api_version" });
    Ok((number, i16::read(reader)?))
}

fn read_header<'a>(
    reader: &mut Reader<'a>,
    api: ApiKey,
    version: i16,
) -> Result<RequestHeader<'a>, Expected> {
    reader.enter(&Place { structure: "RequestHeader", field: "correlation_id" });
    let correlation_id = i32::read(reader)?;
    reader.enter(&Place { structure: "RequestHeader", field: "client_id" });
    let client_id = <&str>::read_nullable(reader)?;
    if api.is_flexible(version) {
        skip_tags(reader)?;
    }
    Ok(RequestHeader { api, version, correlation_id, client_id })
}

fn skip_tags(reader: &mut Reader<'_>) -> Result<(), Expected> {
    let mut tags = reader.tags()?;
    while reader.next_tag(&mut tags)?.is_some() {
        reader.skip_tag(&tags);
    }
    Ok(())
}

/// Builds a request's frame, prefix included, in `frame` (which is cleared).
pub fn encode_request<'a, M: Message<'a>>(
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    body: &M,
    frame: &mut Frame,
) {
    frame.begin();
    RequestHeader { api: M::API, version, correlation_id, client_id }.encode(frame);
    body.encode(version, frame);
    frame.end();
}

/// Builds a response's frame, prefix included, in `frame` (which is cleared).
pub fn encode_response<'a, M: Message<'a>>(
    version: i16,
    correlation_id: i32,
    body: &M,
    frame: &mut Frame,
) {
    frame.begin();
    let mut writer = Writer::new(frame, 0, false);
    correlation_id.write(&mut writer);
    if M::API.has_flexible_response_header(version) {
        writer.varint(0);
    }
    body.encode(version, frame);
    frame.end();
}

/// Reads the header of a response whose prefix is gone: the correlation id, and the body behind it.
pub fn decode_response_header(
    api: ApiKey,
    version: i16,
    frame: &[u8],
) -> Result<(i32, &[u8]), KafkaError> {
    let mut reader = Reader::new(frame, 0, false);
    reader.enter(&Place { structure: "ResponseHeader", field: "correlation_id" });
    let mut read = || {
        let correlation_id = i32::read(&mut reader)?;
        if api.has_flexible_response_header(version) {
            skip_tags(&mut reader)?;
        }
        Ok(correlation_id)
    };
    match read() {
        Ok(correlation_id) => Ok((correlation_id, reader.rest())),
        Err(expected) => Err(reader.error(Some(api), expected)),
    }
}
