/*
 * pseudonym_text.c
 *		Pseudonyms of the same form as the value.
 *
 * Letters and digits become others of their class, at the same places; all else
 * stays where it is and as it is.  What stays is the form: values of one form are
 * permuted among themselves, so no two values get one pseudonym, whatever their
 * forms.  IBANs and card numbers keep what tells country or issuer, and their
 * check digits are right where they were right before.  What has not the form of
 * one is permuted as text: nothing comes out as it went in, and as its form is
 * kept, too, it does not meet the pseudonyms of others.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "shape/permute.h"
#include "shape/pseudonym_kinds.h"

#define MAX_TEXT (16 * 1024 * 1024)

/*
 * The classes: ranges of code points that are permuted among themselves.  What
 * is in none of them (punctuation, symbols, emoji) is part of the form.
 */
static const struct
{
	pg_wchar	first;
	pg_wchar	last;
}			classes[] = {
	{'0', '9'}, {'A', 'Z'}, {'a', 'z'},
	{0xC0, 0xD6}, {0xD8, 0xDE}, {0xDF, 0xF6}, {0xF8, 0xFF}, /* Latin-1 */
	{0x100, 0x17F}, {0x180, 0x24F}, {0x250, 0x36F},
	{0x370, 0x390}, {0x391, 0x3A1}, {0x3A3, 0x3A9}, {0x3AA, 0x3B0}, {0x3B1, 0x3C9}, /* Greek */
	{0x3CA, 0x3FF},
	{0x400, 0x40F}, {0x410, 0x42F}, {0x430, 0x44F}, {0x450, 0x45F}, {0x460, 0x52F}, /* Cyrillic */
	{0x531, 0x556}, {0x561, 0x586}, /* Armenian */
	{0x591, 0x5BD}, {0x5D0, 0x5EA}, /* Hebrew */
	{0x610, 0x61A}, {0x620, 0x63F}, {0x641, 0x64A}, {0x64B, 0x65F}, /* Arabic */
	{0x660, 0x669}, {0x66E, 0x6D3}, {0x6F0, 0x6F9}, {0x6FA, 0x7FF},
	{0x800, 0x8FF}, {0x900, 0x963}, {0x966, 0x96F}, {0x970, 0xDFF}, /* of India */
	{0xE01, 0xE3A}, {0xE40, 0xE4F}, {0xE50, 0xE59}, {0xE80, 0xFFF}, /* Thai, Lao, Tibetan */
	{0x1000, 0x109F}, {0x10A0, 0x10CF}, {0x10D0, 0x10FF}, {0x1100, 0x11FF},
	{0x1200, 0x167F}, {0x1680, 0x1DFF}, {0x1E00, 0x1EFF}, {0x1F00, 0x1FFF},
	{0x2C00, 0x2DFF}, {0x2E80, 0x2FDF},
	{0x3041, 0x3096}, {0x30A1, 0x30FA}, {0x3105, 0x31FF}, {0x3400, 0x4DBF}, /* of East Asia */
	{0x4E00, 0x9FFF}, {0xA000, 0xABFF}, {0xAC00, 0xD7A3}, {0xD7B0, 0xD7FB},
	{0xF900, 0xFAFF}, {0xFB00, 0xFDCF}, {0xFDF0, 0xFDFF}, {0xFE70, 0xFEFC},
	{0xFF10, 0xFF19}, {0xFF21, 0xFF3A}, {0xFF41, 0xFF5A}, {0xFF66, 0xFFDC},
	{0x10000, 0x1CFFF}, {0x1E000, 0x1EFFF}, {0x20000, 0x2FFFF}, {0x30000, 0x3FFFF}
};

/* The class of a character, or -1 */
static int
find_class(pg_wchar c)
{
	int			low = 0;
	int			high = lengthof(classes) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (c < classes[middle].first)
			high = middle - 1;
		else if (c > classes[middle].last)
			low = middle + 1;
		else
			return middle;
	}
	return -1;
}

/*
 * The character at this place; a byte that belongs to none, as there may be in a
 * database without an encoding, is one that stays
 */
static int
read_character(const char *at, const char *end, pg_wchar *c)
{
	int			len = pg_utf_mblen((const unsigned char *) at);

	if (len > end - at || !pg_utf8_islegal((const unsigned char *) at, len))
	{
		*c = 0;
		return 1;
	}
	*c = utf8_to_unicode((const unsigned char *) at);
	return len;
}

/* "keep": so many bytes at the begin are part of the form */
static void
permute_text(const FloPrf *prf, const char *value, int len, int keep, StringInfo out)
{
	const char *end = value + len;
	FloDigit   *digits;
	StringInfoData form;
	int			count = 0;

	if (len > MAX_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a value of %d bytes is too long for a pseudonym of its form", len),
				 errhint("Use flo.hash() or a constant for such values.")));
	digits = palloc(len * sizeof(FloDigit));
	initStringInfo(&form);
	appendBinaryStringInfo(&form, value, keep);
	for (const char *at = value + keep; at < end;)
	{
		pg_wchar	c;
		int			n = read_character(at, end, &c);
		int			class = find_class(c);

		if (class < 0)
			appendBinaryStringInfo(&form, at, n);
		else
		{
			/* a byte that no text has, and the class */
			appendStringInfoChar(&form, (char) 0xFF);
			appendStringInfoChar(&form, (char) class);
			digits[count].digit = c - classes[class].first;
			digits[count].radix = classes[class].last - classes[class].first + 1;
			count++;
		}
		at += n;
	}
	flo_permute(prf, form.data, form.len, digits, count);

	appendBinaryStringInfo(out, value, keep);
	count = 0;
	for (const char *at = value + keep; at < end;)
	{
		pg_wchar	c;
		int			n = read_character(at, end, &c);
		int			class = find_class(c);
		unsigned char made[MAX_MULTIBYTE_CHAR_LEN];

		if (class < 0)
			appendBinaryStringInfo(out, at, n);
		else
		{
			unicode_to_utf8(classes[class].first + digits[count++].digit, made);
			appendBinaryStringInfo(out, (char *) made, pg_utf_mblen(made));
		}
		at += n;
	}
	pfree(form.data);
	pfree(digits);
}

void
flo_make_text(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	permute_text(&pseudonym->prf, input->value, input->len, 0, out);
}

/* After a plus two digits stay, which are the country or a part of it */
void
flo_make_phone(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	int			keep = 0;

	if (input->value[0] == '+')
	{
		int			digits = 0;

		for (keep = 1; keep < input->len && digits < 2; keep++)
			if (input->value[keep] >= '0' && input->value[keep] <= '9')
				digits++;
			else if (input->value[keep] != ' ' && input->value[keep] != '(')
				break;
	}
	permute_text(&pseudonym->prf, input->value, input->len, keep, out);
}

/* --- card numbers -------------------------------------------------------- */

#define MIN_CARD 12
#define MAX_CARD 19
#define ISSUER 6

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_number(const char *value, int len)
{
	for (int i = 0; i < len; i++)
		if (!is_digit(value[i]))
			return false;
	return true;
}

/* How far the last digit is from the one that is right for those before it */
static int
card_error(const char *digits, int count)
{
	int			sum = 0;

	for (int i = 0; i < count; i++)
	{
		int			digit = digits[count - 1 - i] - '0';

		if (i % 2 == 1)
			digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
		sum += digit;
	}
	return sum % 10;
}

/*
 * Issuer and check digit aside, all digits are permuted; the check digit is as
 * wrong as it was, so a right one is right.
 */
void
flo_make_credit_card(const FloPseudonym *pseudonym, const FloPseudonymInput *input,
					 StringInfo out)
{
	char		digits[MAX_CARD];
	FloDigit	permuted[MAX_CARD];
	int			count = 0;
	int			error;
	int			at = 0;

	for (int i = 0; i < input->len; i++)
	{
		char		c = input->value[i];

		if (is_digit(c) && count < MAX_CARD)
			digits[count++] = c;
		else if (is_digit(c) || (c != ' ' && c != '-'))
		{
			count = 0;
			break;
		}
	}
	if (count < MIN_CARD)
	{
		/* a number does not lose its first digit to a zero */
		permute_text(&pseudonym->prf, input->value, input->len,
					 is_number(input->value, input->len) ? 1 : 0, out);
		return;
	}
	error = card_error(digits, count);
	for (int i = ISSUER; i < count - 1; i++)
	{
		permuted[i].digit = digits[i] - '0';
		permuted[i].radix = 10;
	}
	flo_permute(&pseudonym->prf, digits, ISSUER, permuted + ISSUER, count - 1 - ISSUER);
	for (int i = ISSUER; i < count - 1; i++)
		digits[i] = '0' + permuted[i].digit;
	digits[count - 1] = '0';
	digits[count - 1] = '0' + (10 + error - card_error(digits, count)) % 10;

	for (int i = 0; i < input->len; i++)
		appendStringInfoChar(out, is_digit(input->value[i]) ? digits[at++] : input->value[i]);
}

/* --- IBANs --------------------------------------------------------------- */

#define MIN_IBAN 15
#define MAX_IBAN 34
#define IBAN_HEAD 4

static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* The check digits that are right, as a number from 2 to 98 (ISO 13616) */
static int
iban_check(const char *iban, int count)
{
	int			rest = 0;

	for (int i = 0; i < count; i++)
	{
		int			at = (i + IBAN_HEAD) % count;
		char		c = at == 2 || at == 3 ? '0' : iban[at];

		rest = is_digit(c) ? (rest * 10 + c - '0') % 97 : (rest * 100 + c - 'A' + 10) % 97;
	}
	return 98 - rest;
}

/* Its characters without blanks; 0 when the text has not the form of one */
static int
read_iban(const char *value, int len, char *iban)
{
	int			count = 0;

	for (int i = 0; i < len; i++)
	{
		char		c = value[i];

		if (c == ' ')
			continue;
		if (count == MAX_IBAN || (count < 2 ? !is_upper(c) : count < IBAN_HEAD ? !is_digit(c) :
								  !is_upper(c) && !is_digit(c)))
			return 0;
		iban[count++] = c;
	}
	return count >= MIN_IBAN ? count : 0;
}

/* Country and check digits aside, all is permuted; see above of check digits */
void
flo_make_iban(const FloPseudonym *pseudonym, const FloPseudonymInput *input, StringInfo out)
{
	char		iban[MAX_IBAN];
	int			count = read_iban(input->value, input->len, iban);
	int			error;
	int			check;
	int			at = 0;
	StringInfoData rest;

	if (count == 0)
	{
		permute_text(&pseudonym->prf, input->value, input->len, 0, out);
		return;
	}
	error = (iban[2] - '0') * 10 + iban[3] - '0' - iban_check(iban, count);
	iban[2] = iban[3] = '0';
	initStringInfo(&rest);
	permute_text(&pseudonym->prf, iban, count, IBAN_HEAD, &rest);
	memcpy(iban, rest.data, count);
	check = (iban_check(iban, count) + error + 100) % 100;
	iban[2] = '0' + check / 10;
	iban[3] = '0' + check % 10;
	for (int i = 0; i < input->len; i++)
		appendStringInfoChar(out, input->value[i] == ' ' ? ' ' : iban[at++]);
}
