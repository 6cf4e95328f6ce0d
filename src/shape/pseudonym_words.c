/*
 * pseudonym_words.c
 *		Pseudonyms made of words.
 *
 * The value chooses them.  There are few names and many people, so most of these
 * are lossy; an address or a user's name has 65 bits beside its words, and two of
 * ten million values meet in one of a million databases.
 */
#include "postgres.h"

#include "shape/pseudonym_kinds.h"
#include "shape/words.h"

/* Without what is easily read as something else */
#define TAG_ALPHABET "0123456789abcdefghjkmnpqrstvwxyz"
#define TAG_LENGTH 13

static void
choose(const FloPseudonym *pseudonym, const FloPseudonymInput *input, FloPrfNumbers *numbers)
{
	FloPrfState state;

	flo_prf_begin(&state, &pseudonym->prf);
	flo_prf_add(&state, input->value, input->len);
	flo_prf_numbers(numbers, &state);
}

static const char *
one_of(FloPrfNumbers *numbers, const char *const *words, int count)
{
	return words[flo_prf_next(numbers, count)];
}

static void
append_lower(StringInfo out, const char *word)
{
	for (; *word != '\0'; word++)
		appendStringInfoChar(out, *word >= 'A' && *word <= 'Z' ? *word - 'A' + 'a' : *word);
}

static void
append_tag(StringInfo out, FloPrfNumbers *numbers)
{
	for (int i = 0; i < TAG_LENGTH; i++)
		appendStringInfoChar(out, TAG_ALPHABET[flo_prf_next(numbers, strlen(TAG_ALPHABET))]);
}

/* At a domain that is nobody's for ever (RFC 2606) */
void
flo_make_email(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	append_lower(out, one_of(&numbers, flo_first_names, flo_first_names_count));
	appendStringInfoChar(out, '.');
	append_lower(out, one_of(&numbers, flo_last_names, flo_last_names_count));
	appendStringInfoChar(out, '.');
	append_tag(out, &numbers);
	appendStringInfoString(out, "@example.com");
}

void
flo_make_username(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	append_lower(out, one_of(&numbers, flo_first_names, flo_first_names_count));
	appendStringInfoChar(out, '_');
	append_tag(out, &numbers);
}

void
flo_make_first_name(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	appendStringInfoString(out, one_of(&numbers, flo_first_names, flo_first_names_count));
}

void
flo_make_last_name(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	appendStringInfoString(out, one_of(&numbers, flo_last_names, flo_last_names_count));
}

void
flo_make_full_name(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	appendStringInfoString(out, one_of(&numbers, flo_first_names, flo_first_names_count));
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, one_of(&numbers, flo_last_names, flo_last_names_count));
}

void
flo_make_street(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	appendStringInfo(out, "%u ", 1 + flo_prf_next(&numbers, 999));
	appendStringInfoString(out, one_of(&numbers, flo_streets, flo_streets_count));
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, one_of(&numbers, flo_street_kinds, flo_street_kinds_count));
}

void
flo_make_city(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	appendStringInfoString(out, one_of(&numbers, flo_cities, flo_cities_count));
}

void
flo_make_company(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	FloPrfNumbers numbers;

	choose(pseudonym, input, &numbers);
	appendStringInfoString(out, one_of(&numbers, flo_company_names, flo_company_names_count));
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, one_of(&numbers, flo_company_trades, flo_company_trades_count));
	appendStringInfoChar(out, ' ');
	appendStringInfoString(out, one_of(&numbers, flo_company_forms, flo_company_forms_count));
}
