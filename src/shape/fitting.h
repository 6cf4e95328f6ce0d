/*
 * fitting.h
 *		Does what a rule makes of a column fit where it goes?
 */
#ifndef FLO_FITTING_H
#define FLO_FITTING_H

#include "shape/columns.h"
#include "shape/pseudonym.h"

/*
 * Throws when different values that come out as one would meet in a unique index of
 * the local table; "what" makes them ("a pseudonym of kind ...").
 */
extern void flo_fitting_check_unique(const FloShapeColumns *columns, const FloShapeColumn *column,
									 const char *what);

/*
 * Throws when the column, as the relation or the local table has it, is of a type or
 * length that does not take the pseudonyms, or of a domain that refuses some.
 */
extern void flo_fitting_check_pseudonym(const FloShapeColumns *columns,
										const FloShapeColumn *column,
										const FloPseudonym *pseudonym);
extern void flo_fitting_check_hash(const FloShapeColumns *columns, const FloShapeColumn *column,
								   const FloHash *hash);

/* Is it of a domain there?  Then the checks run code of users. */
extern bool flo_fitting_is_domain(const FloShapeColumns *columns, const FloShapeColumn *column);

/* Is the column of the local table one whose values the server generates? */
extern bool flo_fitting_is_generated(const FloShapeColumns *columns, const char *name);

#endif
