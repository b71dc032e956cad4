//! What the network asks of its own: texts that somebody may well have sent, put together from many parts and from what models
//! answered to earlier ones.

use std::collections::VecDeque;

use resultity_core::clock::Entropy;

use super::shapes::random;

/// How many earlier questions are remembered, with what was answered.
const MOST_PAST: usize = 64;

/// The most bytes of one of them.
const LONGEST_PAST: usize = 4 * 1024;

const TOPICS: &[&str] = &[
    "a lighthouse",
    "the tides",
    "sourdough bread",
    "a small town library",
    "honey bees",
    "public transport",
    "the moon",
    "an old oak tree",
    "winter in the mountains",
    "learning the violin",
    "a kitchen garden",
    "bicycles",
    "the history of paper",
    "coral reefs",
    "a night market",
    "chess openings",
    "thunderstorms",
    "making cheese",
    "a lost letter",
    "railway stations",
    "the colour blue",
    "volcanoes",
    "working from home",
    "a second-hand bookshop",
    "electric cars",
    "the Roman roads",
    "solar panels",
    "a job interview",
    "growing tomatoes",
    "renting a flat",
    "black holes",
    "the printing press",
    "a broken washing machine",
    "compound interest",
    "the human eye",
    "penguins",
    "a school play",
    "saving water",
    "public speaking",
    "the Silk Road",
    "a marathon",
    "database indexes",
    "unit tests",
    "a birthday party",
    "vaccines",
    "the stock market",
    "wooden boats",
    "learning Spanish",
    "migraine",
    "a family recipe",
    "street photography",
    "insulation of old houses",
    "the water cycle",
    "negotiating a salary",
    "camping with children",
    "regular expressions",
    "an online shop",
    "fermented vegetables",
    "hiking boots",
    "the French Revolution",
    "noise-cancelling headphones",
    "a community garden",
    "inflation",
    "bird song",
    "time zones",
];

const READERS: &[&str] = &[
    "a child",
    "a colleague",
    "my grandmother",
    "a beginner",
    "a newsletter",
    "a friend",
    "a class of ten-year-olds",
    "my manager",
    "a customer",
    "new employees",
    "a blog",
    "someone who has no time",
    "a sceptic",
    "my neighbour",
    "a panel of experts",
];

const MANNERS: &[&str] = &[
    "",
    " Keep it short.",
    " Please be specific.",
    " Use plain language.",
    " No bullet points, please.",
    " Use a list.",
    " Two paragraphs at most.",
    " Give an example.",
    " Be honest about what is uncertain.",
    " Answer in one sentence if you can.",
    " Make it friendly but not silly.",
    " Explain the terms that you use.",
    " I already know the basics.",
];

const CODE: &[&str] = &[
    "reverses the words of a sentence",
    "finds duplicates in a list",
    "parses a date like 3 Mar 2021",
    "merges two sorted lists",
    "counts how often each word occurs",
    "checks whether brackets match",
    "computes a moving average",
    "groups records by month",
    "removes HTML tags from a text",
    "retries a call with growing pauses",
    "reads a CSV file and sums a column",
    "turns snake case into camel case",
    "finds the longest common prefix",
    "validates an e-mail address",
    "flattens a nested list",
    "caches results for ten minutes",
    "splits a list into chunks",
    "formats a number of bytes for people",
];

const LANGUAGES: &[&str] = &[
    "Python",
    "JavaScript",
    "Rust",
    "Go",
    "Java",
    "SQL",
    "Bash",
    "TypeScript",
    "C#",
    "Kotlin",
];

const TONGUES: &[&str] = &[
    "French",
    "German",
    "Spanish",
    "Italian",
    "Portuguese",
    "Dutch",
    "Polish",
    "Swedish",
];

const FOLLOW_UPS: &[&str] = &[
    "Can you say more about the second point?",
    "Why is that?",
    "Shorter, please.",
    "Now the same for a beginner.",
    "Thanks. What would be the opposite view?",
    "Could you give me an example?",
    "Put that into a table.",
    "Is that always so?",
    "What did you leave out?",
    "And how would I begin?",
    "Rewrite it so that it sounds less formal.",
    "What should I ask next?",
    "ok, and what does it cost roughly",
    "Summarise what you said in one sentence.",
    "Translate that into French, please.",
    "I don't understand the first sentence. Can you explain it?",
    "Which of these matters most?",
    "Go on.",
];

const ROLES: &[&str] = &[
    "You are a helpful assistant.",
    "You are a friendly assistant of a small company.",
    "You answer questions of customers.",
    "You are a patient teacher.",
    "You are an editor who improves texts.",
    "You are an experienced programmer.",
    "You help people to plan their week.",
    "You are a travel guide.",
    "You write for a local newspaper.",
];

const RULES: &[&str] = &[
    "Answer briefly.",
    "If you don't know something, say so.",
    "Use metric units.",
    "Never make up sources.",
    "Answer in the language of the question.",
    "Do not give medical advice.",
    "Be polite, also to people who are not.",
    "Use short sentences.",
    "Do not mention that you are a model.",
    "Ask a question back if something is unclear.",
    "Prefer examples to theory.",
    "Write dates as day, month and year.",
    "Leave out introductions.",
    "Explain each step.",
];

const PEOPLE: &[&str] = &[
    "Anna",
    "the baker",
    "our neighbour",
    "the new teacher",
    "Mr Holm",
    "a tourist from Lyon",
    "the committee",
    "my cousin",
    "the driver of the bus",
    "Ines",
    "an engineer",
    "the owner of the shop",
    "two students",
    "the mayor",
    "a nurse",
    "Tomas",
];

const DEEDS: &[&str] = &[
    "forgot the keys",
    "wrote a long letter",
    "counted the chairs again",
    "asked for a receipt",
    "repaired the old radio",
    "did not believe the numbers",
    "opened the window",
    "told everybody about the plan",
    "waited for an answer",
    "changed the order of the slides",
    "found a mistake in the contract",
    "sold the boat",
    "cooked for twelve people",
    "missed the first train",
    "measured the room twice",
    "refused to sign",
    "painted the door green",
    "borrowed a ladder",
    "closed the account",
    "read the report aloud",
];

const TIMES: &[&str] = &[
    "On Monday",
    "Last spring",
    "In the evening",
    "A week later",
    "Before the rain began",
    "At about noon",
    "Years ago",
    "During the break",
    "Shortly before Christmas",
    "After the meeting",
    "In the meantime",
    "Every other day",
    "At the end of May",
];

const ENDS: &[&str] = &[
    ".",
    ", which surprised nobody.",
    " because nobody else wanted to.",
    ", and that was the end of it.",
    " without a word.",
    ", although it was late.",
    " for the third time.",
    ", so we had to begin again.",
    " and felt better afterwards.",
    ", as it says in the minutes.",
    " instead of going home.",
    "; the rest is known.",
];

/// Earlier questions of the network, with what was answered: so many and no more.
#[derive(Debug, Default)]
pub(super) struct Past(VecDeque<(String, String)>);

impl Past {
    /// A question was answered thus.
    pub(super) fn add(&mut self, mut asked: String, mut answered: String) {
        if asked.is_empty() || answered.is_empty() {
            return;
        }
        for text in [&mut asked, &mut answered] {
            text.truncate(text.floor_char_boundary(LONGEST_PAST));
        }
        if self.0.len() == MOST_PAST {
            self.0.pop_front();
        }
        self.0.push_back((asked, answered));
    }

    /// One of them, at random.
    pub(super) fn one(&self, entropy: &dyn Entropy) -> Option<&(String, String)> {
        self.0.get(random(entropy, self.0.len())?)
    }
}

fn one(entropy: &dyn Entropy, words: &[&'static str]) -> &'static str {
    let place = random(entropy, words.len()).unwrap_or_default();
    words.get(place).copied().unwrap_or_default()
}

fn number(entropy: &dyn Entropy, from: usize, to: usize) -> usize {
    from + random(entropy, to - from + 1).unwrap_or_default()
}

/// What somebody may well ask, of about so many bytes; a long one has a text that it is about.
pub(super) fn question(entropy: &dyn Entropy, past: &Past, bytes: usize) -> String {
    let task = if bytes > 400 {
        with_a_text(entropy, past, bytes)
    } else {
        short(entropy)
    };
    careless(entropy, task)
}

/// What somebody asks who has read an answer.
pub(super) fn follow_up(entropy: &dyn Entropy, past: &Past, bytes: usize) -> String {
    if bytes > 200 {
        return question(entropy, past, bytes);
    }
    careless(entropy, one(entropy, FOLLOW_UPS).to_owned())
}

/// What an app tells its model first, of about so many bytes.
pub(super) fn instruction(entropy: &dyn Entropy, bytes: usize) -> String {
    let mut text = one(entropy, ROLES).to_owned();
    while text.len() + 20 < bytes {
        text.push(' ');
        if text.len() > 500 && number(entropy, 0, 2) > 0 {
            text.push_str(&sentence(entropy));
        } else {
            text.push_str(one(entropy, RULES));
        }
    }
    text
}

fn short(entropy: &dyn Entropy) -> String {
    let (topic, other, reader) = (one(entropy, TOPICS), one(entropy, TOPICS), one(entropy, READERS));
    let count = number(entropy, 2, 12);
    let asked = match number(entropy, 0, 17) {
        0 => format!("Write {count} sentences about {topic} for {reader}."),
        1 => format!("Explain {topic} to {reader}."),
        2 => format!("What do {topic} and {other} have in common?"),
        3 => format!("Give me {count} ideas for a short story about {topic}."),
        4 => format!("Write a short poem about {topic} and {other}."),
        5 => format!("I have to talk about {topic} for {count} minutes. How should I begin?"),
        6 => format!("List {count} things that most people don't know about {topic}."),
        7 => format!("Write a friendly message to {reader} about {topic}."),
        8 => format!("What are the pros and cons of {topic}?"),
        9 => format!(
            "Write a {} function that {}.",
            one(entropy, LANGUAGES),
            one(entropy, CODE)
        ),
        10 => format!("How do you say {:?} in {}?", sentence(entropy), one(entropy, TONGUES)),
        11 => {
            let (price, people) = (number(entropy, 11, 990), number(entropy, 3, 17));
            format!(
                "{people} people share a bill of {price}.{:02} euros. What does each of them pay?",
                count * 5
            )
        }
        12 => format!("Is it true that {topic} and {other} are connected? Someone told me so."),
        13 => format!("What should I know about {topic} before I spend money on it?"),
        14 => format!("Make a plan of {count} days for somebody who wants to learn about {topic}."),
        15 => format!("Continue this story: {} {}", sentence(entropy), sentence(entropy)),
        16 => format!("Write a quiz with {count} questions about {topic} for {reader}, with the answers."),
        _ => format!("{} What would you do in my place?", sentence(entropy)),
    };
    format!("{asked}{}", one(entropy, MANNERS))
}

fn sentence(entropy: &dyn Entropy) -> String {
    let (time, who, deed) = (one(entropy, TIMES), one(entropy, PEOPLE), one(entropy, DEEDS));
    format!("{time} {who} {deed}{}", one(entropy, ENDS))
}

/// A task, and a text that it is about: made up, or what a model answered before.
fn with_a_text(entropy: &dyn Entropy, past: &Past, bytes: usize) -> String {
    let count = number(entropy, 2, 6);
    let task = match number(entropy, 0, 6) {
        0 => format!("Summarise the following text in {count} sentences."),
        1 => format!("Translate this into {}.", one(entropy, TONGUES)),
        2 => "Correct the mistakes in this text and leave the rest as it is.".to_owned(),
        3 => format!("Rewrite this for {}.", one(entropy, READERS)),
        4 => format!("Which {count} questions does this text leave open?"),
        5 => "Who did what? Make a table from this text.".to_owned(),
        _ => format!("Find a title for this, and {count} keywords."),
    };
    let mut text = String::new();
    while text.len() + task.len() < bytes {
        match past.one(entropy) {
            Some((_, answered)) if number(entropy, 0, 2) == 0 => text.push_str(answered),
            _ => {
                for _ in 0..number(entropy, 3, 7) {
                    text.push_str(&sentence(entropy));
                    text.push(' ');
                }
            }
        }
        text.push_str("\n\n");
    }
    text.truncate(text.floor_char_boundary(bytes.saturating_sub(task.len())));
    if number(entropy, 0, 3) == 0 {
        format!("{}\n\n{task}", text.trim_end())
    } else {
        format!("{task}\n\n{}", text.trim_end())
    }
}

/// As people write: now and then without a capital or a full stop.
fn careless(entropy: &dyn Entropy, mut text: String) -> String {
    match number(entropy, 0, 5) {
        0 => text.make_ascii_lowercase(),
        1 if text.ends_with('.') => {
            text.pop();
        }
        _ => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use resultity_core::clock::SeededEntropy;
    use std::collections::HashSet;

    #[test]
    fn questions_differ_and_are_as_long_as_they_should_be() {
        let (entropy, past) = (SeededEntropy::new(2), Past::default());
        let texts: HashSet<String> = (0..2_000).map(|_| question(&entropy, &past, 100)).collect();
        assert!(texts.len() > 1_950, "{}", texts.len());
        // No beginning is so frequent that a node could learn it.
        let mut beginnings: std::collections::HashMap<String, u32> = std::collections::HashMap::new();
        for text in &texts {
            let beginning: String = text.to_lowercase().chars().take(32).collect();
            *beginnings.entry(beginning).or_default() += 1;
        }
        let most = beginnings.values().max().copied().unwrap_or_default();
        assert!(most < 100, "{beginnings:?}");
        for bytes in [500, 3_000, 20_000] {
            let found = question(&entropy, &past, bytes).len();
            assert!((bytes - 120..bytes + 40).contains(&found), "{found} of {bytes}");
            let found = instruction(&entropy, bytes).len();
            assert!((bytes - 120..bytes + 120).contains(&found), "{found} of {bytes}");
        }
        assert!(follow_up(&entropy, &past, 30).len() < 100);
    }

    #[test]
    fn so_many_answers_are_kept_and_no_more() {
        let (entropy, mut past) = (SeededEntropy::new(2), Past::default());
        assert!(past.one(&entropy).is_none());
        past.add(String::new(), "x".into());
        for number in 0..200 {
            past.add(format!("q{number}"), "é".repeat(LONGEST_PAST));
        }
        assert_eq!(past.0.len(), MOST_PAST);
        assert!(past.one(&entropy).unwrap().1.len() <= LONGEST_PAST);
        let found = question(&entropy, &past, 6_000);
        assert!(found.len() <= 6_100, "{}", found.len());
    }
}
