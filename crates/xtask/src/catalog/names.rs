//! The sources' names of providers and models, and ours.

/// Whether this is one model's whole name, not a pattern.
pub fn is_exact(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.chars().all(|char| char.is_ascii_graphic() && !"*<>{}\"\\".contains(char))
}

/// Our name of a provider of genai-prices.
pub fn of_genai(provider: &str) -> String {
    match provider {
        "x-ai" => "xai".to_owned(),
        "aws" => "bedrock".to_owned(),
        other => other.replace('_', "-"),
    }
}

/// Our name of a provider of model-prices.
pub fn of_model_prices(provider: &str) -> String {
    match provider {
        "amazon-bedrock" => "bedrock".to_owned(),
        "stepfun-ai" => "stepfun".to_owned(),
        "tencent-tokenhub" => "tencent".to_owned(),
        other => other.to_owned(),
    }
}

/// Our name of a provider of LiteLLM.
pub fn of_litellm(provider: &str) -> String {
    let family = provider.split('-').next().unwrap_or(provider);
    match provider {
        "gemini" => "google",
        "text-completion-openai" => "openai",
        "text-completion-codestral" => "codestral",
        "text-completion-inception" => "inception",
        "bedrock_converse" => "bedrock",
        "azure_text" => "azure",
        "together_ai" => "together",
        "cohere_chat" => "cohere",
        "moonshot" => "moonshotai",
        "voyage" => "voyageai",
        "dashscope" => "alibaba",
        _ => match family {
            "vertex_ai" => "vertex",
            "fireworks_ai" => "fireworks",
            _ => return provider.replace('_', "-"),
        },
    }
    .to_owned()
}

/// The model in a key of LiteLLM, and the region that the key names.
pub fn in_litellm_key<'a>(provider: &str, key: &'a str) -> (&'a str, Option<&'a str>) {
    let family = provider.split('-').next().unwrap_or(provider);
    let prefixes = [
        provider,
        family,
        if family == "bedrock_converse" { "bedrock" } else { family },
        if provider == "cohere_chat" { "cohere" } else { family },
    ];
    let mut model = key;
    if let Some((first, rest)) = key.split_once('/')
        && (prefixes.contains(&first) || first == provider.trim_start_matches("text-completion-"))
    {
        model = rest;
    }
    let Some((place, rest)) = model.split_once('/') else { return (model, None) };
    let is_region = match family {
        "azure" => ["eu", "us", "global", "global-standard"].contains(&place),
        "bedrock" | "bedrock_converse" => {
            place.split('-').count() >= 3 && place.ends_with(|char: char| char.is_ascii_digit())
        }
        _ => false,
    };
    if is_region { (rest, Some(place)) } else { (model, None) }
}

/// The day in a dated id, such as `gpt-4o-2024-08-06` or `claude-opus-4-20250514`.
pub fn date_in(name: &str) -> Option<String> {
    let digits: Vec<&str> = name.split(|char: char| !char.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let date = digits.windows(3).find_map(|parts| match parts {
        [year, month, day]
            if year.len() == 4
                && month.len() == 2
                && day.len() == 2
                && name.contains(&format!("{year}-{month}-{day}")) =>
        {
            Some(format!("{year}-{month}-{day}"))
        }
        _ => None,
    });
    let compact = || {
        let whole = digits.iter().find(|part| part.len() == 8)?;
        Some(format!("{}-{}-{}", whole.get(..4)?, whole.get(4..6)?, whole.get(6..)?))
    };
    let date = date.or_else(compact)?;
    let mut parts = date.split('-').map(|part| part.parse::<u32>().unwrap_or(0));
    let valid = (2020..2040).contains(&parts.next()?)
        && (1..=12).contains(&parts.next()?)
        && (1..=28).contains(&parts.next()?.min(28));
    valid.then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_litellm_are_taken_apart() {
        assert_eq!(in_litellm_key("xai", "xai/grok-4"), ("grok-4", None));
        assert_eq!(in_litellm_key("openai", "gpt-4o"), ("gpt-4o", None));
        assert_eq!(in_litellm_key("azure", "azure/eu/gpt-4o"), ("gpt-4o", Some("eu")));
        assert_eq!(
            in_litellm_key("bedrock", "bedrock/us-east-1/anthropic.claude-v1"),
            ("anthropic.claude-v1", Some("us-east-1"))
        );
        assert_eq!(in_litellm_key("vertex_ai-anthropic_models", "vertex_ai/claude-opus-4"), ("claude-opus-4", None));
        assert_eq!(in_litellm_key("novita", "novita/deepseek/deepseek-r1"), ("deepseek/deepseek-r1", None));
        assert_eq!(of_litellm("fireworks_ai-embedding-models"), "fireworks");
    }

    #[test]
    fn dated_ids_have_their_day() {
        assert_eq!(date_in("gpt-4o-2024-08-06").as_deref(), Some("2024-08-06"));
        assert_eq!(date_in("claude-opus-4-20250514").as_deref(), Some("2025-05-14"));
        assert_eq!(date_in("anthropic.claude-3-5-sonnet-20241022-v2:0").as_deref(), Some("2024-10-22"));
        assert_eq!(date_in("gemini-2.5-flash-preview-05-20"), None);
        assert_eq!(date_in("model-99999999"), None);
    }

    #[test]
    fn patterns_are_not_names() {
        assert!(is_exact("openai/gpt-oss-120b:free"));
        assert!(!is_exact("gpt-4*") && !is_exact("") && !is_exact("two words"));
    }
}
