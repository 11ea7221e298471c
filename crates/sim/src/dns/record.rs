//! The data of one record, from its text in a zone line to what goes over the wire.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::{
    Name, RData, RecordType,
    rdata::{CNAME, MX, NS, NULL, PTR, SOA, SRV, TLSA, TXT},
};

/// A domain name; the dot at its end may be left out.
pub(super) fn name(text: &str) -> Result<Name, String> {
    let mut name = Name::from_ascii(text).map_err(|error| format!("\"{text}\" is no domain name: {error}"))?;
    name.set_fqdn(true);
    Ok(name)
}

/// The data of a record of type `kind`, from the words of its line.
pub(super) fn parse(kind: RecordType, words: &[String]) -> Result<RData, String> {
    match (kind, words) {
        (RecordType::A, [address]) => Ok(RData::A(number::<Ipv4Addr>(address)?.into())),
        (RecordType::AAAA, [address]) => Ok(RData::AAAA(number::<Ipv6Addr>(address)?.into())),
        (RecordType::MX, [preference, host]) => Ok(RData::MX(MX::new(number(preference)?, name(host)?))),
        (RecordType::CNAME, [host]) => Ok(RData::CNAME(CNAME(name(host)?))),
        (RecordType::NS, [host]) => Ok(RData::NS(NS(name(host)?))),
        (RecordType::PTR, [host]) => Ok(RData::PTR(PTR(name(host)?))),
        (RecordType::TXT, [_, ..]) => {
            Ok(RData::TXT(TXT::from_bytes(words.iter().flat_map(|w| txt_strings(w)).collect())))
        }
        (RecordType::SOA, [mname, rname, serial, refresh, retry, expire, minimum]) => Ok(RData::SOA(SOA::new(
            name(mname)?,
            name(rname)?,
            number(serial)?,
            number(refresh)?,
            number(retry)?,
            number(expire)?,
            number(minimum)?,
        ))),
        (RecordType::SRV, [priority, weight, port, host]) => {
            Ok(RData::SRV(SRV::new(number(priority)?, number(weight)?, number(port)?, name(host)?)))
        }
        (RecordType::TLSA, [usage, selector, matching, data @ ..]) if !data.is_empty() => Ok(RData::TLSA(TLSA::new(
            number::<u8>(usage)?.into(),
            number::<u8>(selector)?.into(),
            number::<u8>(matching)?.into(),
            hex(&data.concat())?,
        ))),
        // RFC 3597 5: any type, as `\# LENGTH HEX`.
        (_, [mark, length, data @ ..]) if mark == "\\#" => {
            let bytes = hex(&data.concat())?;
            if number::<usize>(length)? != bytes.len() {
                return Err(format!("the data is {} bytes long, not {length}", bytes.len()));
            }
            Ok(RData::Unknown { code: kind, rdata: NULL::with(bytes) })
        }
        _ => Err(format!("{kind} can not have the data \"{}\"", words.join(" "))),
    }
}

/// RFC 1035 3.3.14: a TXT record is made of strings of at most 255 bytes, so a longer word is cut.
fn txt_strings(word: &str) -> Vec<&[u8]> {
    if word.is_empty() { vec![b""] } else { word.as_bytes().chunks(255).collect() }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" does not fit here"))
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("\"{text}\" is not hexadecimal");
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())).collect()
}
