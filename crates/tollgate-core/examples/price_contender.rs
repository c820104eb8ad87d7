//! Prices usages natively when it is asked to, over standard input and output; `cargo xtask bench price` is the other end.

#![allow(
    clippy::indexing_slicing,
    reason = "indexing a JSON value by a name that it does not have gives null; nothing else is indexed here"
)]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_core::catalog::{Catalog, Rating, Terms};
use tollgate_core::meter::{Meter, Usage};
use tollgate_core::price::{Charge, price};
use tollgate_core::time::Timestamp;

/// How often all usages are priced between two looks at the clock.
const BLOCK: u128 = 250;

struct Request {
    provider: String,
    model: String,
    usage: Usage,
    at: Timestamp,
}

impl Request {
    fn read(usage: &Value, at: Timestamp) -> Result<Self, Box<dyn Error>> {
        let text = |name: &str| usage[name].as_str().map(str::to_owned).ok_or_else(|| format!("no {name}"));
        let count = |name: &str| usage[name].as_u64().ok_or_else(|| format!("no {name}"));
        let (prompt, cached) = (count("prompt")?, count("cached")?);
        let pools = Usage::new().with(Meter::Input, prompt - cached)?.with(Meter::CacheRead, cached)?;
        Ok(Self {
            provider: text("provider")?,
            model: text("model")?,
            usage: pools.with(Meter::Output, count("output")?)?,
            at,
        })
    }

    /// Everything that a caller asks for: the model by its name, the card by the time, every line.
    fn price(&self, catalog: &Catalog) -> Result<Charge, Box<dyn Error>> {
        let card = catalog.rate_card(&self.provider, &self.model, self.at)?;
        let terms = Terms { at: self.at, mode: None, region: None };
        Ok(price(&Rating::of_card(catalog, card, terms), &self.usage)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("usage: price_contender USAGES")?;
    let usages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let at = Timestamp::from_millis(i64::try_from(since_1970.as_millis())?)?;
    let requests = usages.iter().map(|usage| Request::read(usage, at)).collect::<Result<Vec<_>, _>>()?;
    let catalog = Catalog::builtin()?;
    let prices = requests.iter().map(|request| Ok(request.price(catalog)?.usd.to_string()));
    let prices = prices.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    println!("{}", json!({ "prices": prices }));
    for line in stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line?)?;
        let time = Duration::from_millis(question["milliseconds"].as_u64().ok_or("no milliseconds")?);
        let started = Instant::now();
        // The median of short blocks, in picoseconds, because this crate has no floating-point numbers: whatever else the machine does in between falls into few
        // of them.
        let mut blocks = Vec::new();
        while started.elapsed() < time {
            let begun = Instant::now();
            for _ in 0..BLOCK {
                for request in &requests {
                    black_box(black_box(request).price(catalog)?);
                }
            }
            blocks.push(begun.elapsed().as_nanos() * 1000 / (BLOCK * requests.len() as u128));
        }
        blocks.sort_unstable();
        let middle = blocks.get(blocks.len() / 2).copied().unwrap_or_default();
        println!("{}", json!({ "picoseconds": u64::try_from(middle)? }));
        stdout().flush()?;
    }
    Ok(())
}
