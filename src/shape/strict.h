/*
 * strict.h
 *		Strict masking: no column goes on that nobody has decided about.
 */
#ifndef FLO_STRICT_H
#define FLO_STRICT_H

#include "shape/spec.h"
#include "wire/change.h"

/* What is said of a column, from nothing to most */
typedef enum FloCover
{
	FLO_COVER_NONE,				/* nobody has decided */
	FLO_COVER_PARTLY,			/* its rules do not hold for all operations */
	FLO_COVER_KEPT,				/* it is to pass as it is */
	FLO_COVER_CHANGED,			/* a transform makes another value */
	FLO_COVER_LEFT_OUT			/* a route leaves it out */
} FloCover;

/*
 * "needed": operations with which values of the column come.  *rule: one that
 * says so, or NULL.
 */
extern FloCover flo_strict_cover(const FloShapeSpec *spec, const char *schema, const char *table,
								 const char *column, int needed, const FloRuleSpec **rule);

/*
 * Throw 55000 unless every column of the relation is decided about, naming those
 * that are not, and unless what is kept is what was decided about.
 */
extern void flo_strict_check(const FloShapeSpec *spec, const FloRelation *relation);

/*
 * The same for one that a table is about to get; the number of a rule that changes
 * its values, or 0
 */
extern int64 flo_strict_require(const FloShapeSpec *spec, const char *schema, const char *table,
								const char *column);

/* Is the whole key of the relation to pass as it is?  Then messages may show it. */
extern bool flo_strict_may_show_key(const FloShapeSpec *spec, const FloRelation *relation);

/*
 * May a transform name a column that the relation does not have?  A column that
 * comes is decided about or stops the member, so this one is gone, or to come.
 */
extern bool flo_strict_may_lack(const FloShapeSpec *spec, const FloRuleSpec *rule,
								const FloRelation *relation);

#endif
