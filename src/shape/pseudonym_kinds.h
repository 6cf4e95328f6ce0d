/*
 * pseudonym_kinds.h
 *		How a pseudonym of each kind is made; called by pseudonym.c alone.
 */
#ifndef FLO_PSEUDONYM_KINDS_H
#define FLO_PSEUDONYM_KINDS_H

#include "shape/pseudonym.h"

/* How far a date is moved */
#define FLO_PSEUDONYM_DAYS 180
#define FLO_PSEUDONYM_MAX_DAYS 36525

#define FLO_MAKES(name) \
	extern void flo_make_##name(const FloPseudonym *pseudonym, \
								const FloPseudonymInput *input, StringInfo out)

/* False when the text is no whole number, or not within 64 bits */
extern bool flo_pseudonym_parse_integer(const char *text, int len, int64 *result);

/* of words */
FLO_MAKES(email);
FLO_MAKES(first_name);
FLO_MAKES(last_name);
FLO_MAKES(full_name);
FLO_MAKES(username);
FLO_MAKES(street);
FLO_MAKES(city);
FLO_MAKES(company);

/* of the same form */
FLO_MAKES(text);
FLO_MAKES(phone);
FLO_MAKES(iban);
FLO_MAKES(credit_card);

/* of types */
FLO_MAKES(uuid);
FLO_MAKES(ip);
FLO_MAKES(date);
FLO_MAKES(integer);

#endif
