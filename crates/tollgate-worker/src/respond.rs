//! Answers into HTTP responses.

use tollgate_core::api::{Answer, Code, Problem};
use worker::{Headers, Response, ResponseBuilder, Result};

use crate::router::NoRoute;

/// The answer to a request that was refused, with the header fields that such a refusal has.
#[must_use]
pub fn refusal(problem: &Problem) -> Answer {
    let mut answer = Answer::problem(problem);
    if problem.code == Code::Unauthorized {
        answer.headers.push(("WWW-Authenticate", "Bearer".to_owned()));
    }
    answer
}

/// The answer to a request that no route fits.
#[must_use]
pub fn no_route(reason: &NoRoute) -> Answer {
    let mut answer = refusal(&reason.problem());
    if let NoRoute::MethodNotAllowed(allow) = reason {
        answer.headers.push(("Allow", allow.clone()));
    }
    answer
}

/// The response to send.
///
/// # Errors
/// The runtime refuses a header.
pub fn response(answer: Answer) -> Result<Response> {
    let headers = Headers::new();
    let is_problem = answer.is_problem();
    for (name, value) in answer.headers {
        headers.set(name, &value)?;
    }
    let builder = ResponseBuilder::new().with_status(answer.status);
    if answer.body.is_empty() {
        return Ok(builder.with_headers(headers).empty());
    }
    if !headers.has("Content-Type")? {
        let media_type = if is_problem { "application/problem+json" } else { "application/json" };
        headers.set("Content-Type", media_type)?;
    }
    Ok(builder.with_headers(headers).fixed(answer.body.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        let found = answer.headers.iter().find(|(of, _)| *of == name);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn refusals_say_what_to_do() {
        let answer = refusal(&Problem::new(Code::Unauthorized, "no token"));
        assert_eq!((answer.status, header(&answer, "WWW-Authenticate")), (401, Some("Bearer")));
        let answer = refusal(&Problem::new(Code::Unavailable, "later"));
        assert_eq!((answer.status, header(&answer, "Retry-After")), (503, Some("1")));
        let answer = no_route(&NoRoute::MethodNotAllowed("GET, HEAD".to_owned()));
        assert_eq!((answer.status, header(&answer, "Allow")), (405, Some("GET, HEAD")));
        let answer = no_route(&NoRoute::NotFound);
        assert_eq!((answer.status, answer.headers.len()), (404, 0));
    }
}
