/*
 * search_mapping.h
 *		Types of fields for the types of columns.
 */
#ifndef FLO_SEARCH_MAPPING_H
#define FLO_SEARCH_MAPPING_H

#include "conf/spec.h"
#include "lib/stringinfo.h"
#include "wire/change.h"

/*
 * Append the mapping of a column's field, JSON in ASCII but for names of fields of
 * composite types.  "flattened" is what the service calls the type for JSON whose
 * values are keywords; NULL: JSON is kept and not searched.  Needs a transaction.
 */
extern void flo_search_mapping(StringInfo out, const FloColumn *column, const char *flattened);

/* Does the value, a string with an array of numbers in it, go into the document as that array? */
extern bool flo_search_is_vector(const FloColumn *column);

/*
 * Append the name of the field for a column, a JSON string with its quotes: a dot would
 * make an object of it, and what begins with an underscore can be the service's own.
 */
extern void flo_search_field(StringInfo out, const char *column);

#endif
