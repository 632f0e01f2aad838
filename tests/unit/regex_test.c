/* Regular expressions: what RE2's syntax means for whole matches, what is refused, and no blow-up. */
#include "ir/regex.h"
#include "tests/unit/test.h"

static sinter_arena arena;

static int matches(const char *pattern, const char *text) {
    const char *error = NULL;
    sinter_regex *regex = sinter_regex_compile(&arena, sinter_string_of(pattern), &error);
    if (!regex) printf("%s: %s\n", pattern, error);
    return regex ? sinter_regex_matches(regex, sinter_string_of(text)) : -1;
}

static void test_whole_matches(void) {
    static const struct {
        const char *pattern, *text;
        int expected;
    } cases[] = {
        {"", "", 1},
        {"", "a", 0},
        {"abc", "abc", 1},
        {"abc", "abcd", 0},
        {"a|ab", "ab", 1},
        {"a|b|", "", 1},
        {"(a|b)*c", "ababc", 1},
        {"(a|b)*c", "ababd", 0},
        {"a+?", "aaa", 1},
        {"a{2,3}", "a", 0},
        {"a{2,3}", "aaa", 1},
        {"a{2,3}", "aaaa", 0},
        {"(ab){2}", "abab", 1},
        {"a{2,}", "aaaaa", 1},
        {"a{0}b", "b", 1},
        {"a{,2}", "a{,2}", 1},
        {"(x{2}){3}", "xxxxxx", 1},
        {"[a-cx]+", "abcx", 1},
        {"[^a-c]+", "xyz\n", 1},
        {"[]a]+", "]a", 1},
        {"[a-]+", "-a", 1},
        {"[[:alpha:]_]+", "aZ_", 1},
        {"[[:^digit:]]+", "a1", 0},
        {"\\d+\\.\\d*", "3.14", 1},
        {"\\w+@\\w+\\.(com|org)", "someone@example.org", 1},
        {"\\S+\\s\\S+", "ab\tcd", 1},
        {"[\\D]+", "12", 0},
        {".", "\n", 0},
        {"(?s).", "\n", 1},
        {"(?i)straSSe", "STRAsse", 1},
        {"(?i:a)b", "AB", 0},
        {"(?P<name>a)(?<other>b)(?:c)", "abc", 1},
        {"^a$", "a", 1},
        {"a\\b.\\Bb", "a b", 0},
        {"a\\b.b", "a b", 1},
        {"(?m)a$\n^b", "a\nb", 1},
        {"a$\nb", "a\nb", 0},
        {"\\x41\\x{42}\\103", "ABC", 1},
        {"\\Qa.b*\\E+", "a.b**", 1},
        {"\xc3\xa4.\xc3\xb6", "\xc3\xa4\xe2\x82\xac\xc3\xb6", 1},
        {"[\xce\xb1-\xcf\x89]+", "\xce\xb2\xce\xb3", 1},
        {"((a*)*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", 0},
        {"(a?){30}a{30}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!CHECK(matches(cases[i].pattern, cases[i].text) == cases[i].expected))
            printf("  %s on %s\n", cases[i].pattern, cases[i].text);
}

static void test_refused(void) {
    static const char *const patterns[] = {"(",
                                           ")",
                                           "[a",
                                           "a**",
                                           "a{2}{3}",
                                           "a+b(",
                                           "*a",
                                           "[z-a]",
                                           "a\\",
                                           "\\1",
                                           "(?=a)",
                                           "\\pL",
                                           "a{1001}",
                                           "a{3,2}",
                                           "(?<n)",
                                           "[[:x:]]",
                                           "\\x{110000}",
                                           "(?P=n)",
                                           "((a{1000}){1000}){1000}"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        const char *error = NULL;
        bool refused = !sinter_regex_compile(&arena, sinter_string_of(patterns[i]), &error);
        if (!CHECK(refused && error)) printf("  %s\n", patterns[i]);
    }
}

int main(void) {
    sinter_arena_init(&arena);
    test_whole_matches();
    test_refused();
    sinter_arena_deinit(&arena);
    return test_finish();
}
