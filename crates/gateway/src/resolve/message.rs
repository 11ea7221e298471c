//! Message: what the answer of a DNS server says.

use super::CNAME_CHAIN_MAX;
use hickory_proto::op::{Edns, Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData};
use mail::dns::{Answer, Data, Kind, Negative, Outcome, Question, Record, Trouble};
use std::net::{IpAddr, SocketAddr};

/// What a server's message says to a question.
pub(super) fn read(server: SocketAddr, question: &Question, message: &Message) -> Answer {
    let mut answer = Answer::bare(question.clone(), Outcome::NoData);
    answer.server = server.to_string();
    answer.authentic = message.metadata.authentic_data;
    answer.authoritative = message.metadata.authoritative;
    answer.extended_errors = message.edns.iter().flat_map(extended_errors).collect();
    answer.records = chain(&question.name, question.kind, message);
    let found = answer.records.iter().any(|record| question.kind == Kind::Any || record.kind == question.kind);
    answer.outcome = match message.metadata.response_code {
        ResponseCode::NoError if found => Outcome::Found,
        ResponseCode::NoError => Outcome::NoData,
        ResponseCode::NXDomain => Outcome::NoName,
        other => Outcome::Failed(format!("answered {}", rcode(other))),
    };
    match &mut answer.outcome {
        Outcome::Failed(why) => {
            answer.trouble = Some(trouble(message.metadata.response_code));
            for error in &answer.extended_errors {
                why.push_str(&format!(" ({error})"));
            }
        }
        Outcome::NoData | Outcome::NoName => answer.negative = message.authorities.iter().find_map(negative),
        Outcome::Found => {}
    }
    answer
}

/// RFC 2308 5: the lesser of the SOA's minimum and of its own TTL, which counts down in a cache.
fn negative(record: &hickory_proto::rr::Record) -> Option<Negative> {
    let RData::SOA(soa) = &record.data else { return None };
    Some(Negative { zone: plain(&record.name), minimum: soa.minimum, left: soa.minimum.min(record.ttl) })
}

fn trouble(code: ResponseCode) -> Trouble {
    match code {
        ResponseCode::ServFail => Trouble::ServFail,
        ResponseCode::Refused => Trouble::Refused,
        ResponseCode::FormErr => Trouble::FormErr,
        ResponseCode::NotImp => Trouble::NotImp,
        _ => Trouble::OtherCode,
    }
}

/// The mnemonic of RFC 1035 and its successors, as administrators know it from dig.
fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The records that belong to the name, following CNAMEs; stray ones are left out.
fn chain(name: &str, kind: Kind, message: &Message) -> Vec<Record> {
    let mut records = Vec::new();
    let mut owner = name.to_owned();
    for _ in 0..CNAME_CHAIN_MAX {
        let of_owner = message.answers.iter().filter(|record| plain(&record.name) == owner);
        let of_owner: Vec<Record> =
            of_owner.filter_map(|record| convert(record.name.clone(), record.ttl, &record.data)).collect();
        let next = of_owner.iter().find(|record| record.kind == Kind::Cname).map(|record| record.data.to_string());
        let fits = |record: &Record| kind == Kind::Any || record.kind == kind || record.kind == Kind::Cname;
        records.extend(of_owner.into_iter().filter(fits));
        match next {
            Some(next) if !matches!(kind, Kind::Cname | Kind::Any) => owner = next,
            _ => break,
        }
    }
    records
}

fn convert(name: Name, ttl: u32, data: &RData) -> Option<Record> {
    let (kind, data) = match data {
        RData::A(address) => (Kind::A, Data::Address(IpAddr::V4(address.0))),
        RData::AAAA(address) => (Kind::Aaaa, Data::Address(IpAddr::V6(address.0))),
        RData::MX(mx) => (Kind::Mx, Data::Mx { preference: mx.preference, host: plain(&mx.exchange) }),
        RData::CNAME(target) => (Kind::Cname, Data::Name(plain(&target.0))),
        RData::PTR(target) => (Kind::Ptr, Data::Name(plain(&target.0))),
        RData::NS(target) => (Kind::Ns, Data::Name(plain(&target.0))),
        RData::SOA(soa) => (Kind::Soa, Data::Name(plain(&soa.mname))),
        RData::TXT(text) => {
            let bytes: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            (Kind::Txt, Data::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        RData::TLSA(tlsa) => (
            Kind::Tlsa,
            Data::Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            },
        ),
        // RFC 8482 4.2: the minimal answer to a question of type ANY.
        RData::HINFO(info) => (Kind::Any, Data::Text(format!("HINFO {}", String::from_utf8_lossy(&info.cpu)))),
        _ => return None,
    };
    Some(Record { name: plain(&name), kind, ttl, data })
}

/// Lower case, no final dot.
fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}

/// RFC 8914: option 15, two octets of code, then text.
fn extended_errors(edns: &Edns) -> Vec<String> {
    let options = edns.options().as_ref().iter();
    options
        .filter_map(|(code, option)| match (code, option) {
            (EdnsCode::Unknown(15), EdnsOption::Unknown(_, bytes)) if bytes.len() >= 2 => {
                let number = u16::from_be_bytes([bytes[0], bytes[1]]);
                Some(format!("EDE {number} {}", String::from_utf8_lossy(&bytes[2..])).trim().to_owned())
            }
            _ => None,
        })
        .collect()
}
