/*
 * unknown_names.c
 *		What somebody may have meant who wrote a name that nothing has.
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/pg_type.h"
#include "core/text.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

/* Names that are longer are not compared: the server's function does not take them */
#define LONGEST_NAME 255

/* So many letters may be wrong, and half of those of the last part of a name */
#define MOST_DIFFERENCES 2

FLO_FUNCTION(flo_closest_name);

Datum
flo_closest_name(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			length = strlen(name);
	char	   *last = strrchr(name, '.');
	int			word = strlen(last != NULL ? last + 1 : name);
	int			best = Min(MOST_DIFFERENCES, word / 2) + 1;
	char	   *closest = NULL;
	ListCell   *cell;

	foreach(cell, flo_texts_of_array(PG_GETARG_DATUM(1)))
	{
		char	   *other = lfirst(cell);
		int			other_length = strlen(other);
		int			distance;

		if (length > LONGEST_NAME || other_length > LONGEST_NAME)
			continue;
		distance = varstr_levenshtein_less_equal(name, length, other, other_length, 1, 1, 1,
												 best, true);
		if (distance < best)
		{
			best = distance;
			closest = other;
		}
	}
	if (closest == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(closest));
}
