/*
 * rules.h
 *		One rule, compiled for the columns of one table.
 */
#ifndef FLO_RULES_H
#define FLO_RULES_H

#include "lib/stringinfo.h"
#include "shape/expr.h"
#include "shape/pattern.h"
#include "shape/pseudonym.h"
#include "shape/spec.h"

/* Under whose eyes rules are compiled */
typedef struct FloRuleOffice
{
	Oid			owner;			/* of the member that executes them; invalid:
								 * nobody's */
	bool		decoding;		/* the tables of users cannot be read */
	bool		events;			/* what they make is text, not written into
								 * tables */
} FloRuleOffice;

typedef struct FloRule
{
	const FloRuleSpec *spec;
	int			column;			/* number of the FloShapeColumns; -1: none */
	Oid			author;			/* invalid: need not be known */
	bool		guarded;

	/* by action */
	FloPattern *pattern;
	FloExpr    *expr;
	const char *text;			/* mask_char, a constant, or what "contains"
								 * looks for */
	int			text_len;
	FloPseudonym *pseudonym;
	int			subject;		/* of a pseudonym, a column; -1: it has none */
	FloHash    *hash;
	FmgrInfo	compare;		/* gives -1, 0, 1 */
	bool		by_equality;	/* no: gives true or false */
	Oid			compare_type;
	Datum		value;

	/* where the columns are now */
	bool		is_key;			/* the column is part of a key that finds rows */
	bool		mixes_key;		/* the key's new value depends on more than
								 * the key */
} FloRule;

/*
 * A row as a rule sees it: as it came.  A value that was not sent because it
 * did not change is taken from the old row where that has it.
 */
typedef struct FloRowView
{
	const FloChange *change;
	bool		old;			/* the old row, else the new one */
} FloRowView;

typedef enum FloVerdict
{
	FLO_PASSES,
	FLO_FAILS,
	FLO_UNKNOWN					/* values it needs are not there */
} FloVerdict;

/* In the current memory context; throws what is wrong with the rule */
extern FloRule *flo_rule_compile(const FloRuleSpec *spec, const FloRuleOffice *office,
								 FloShapeColumns *columns);

/* Throws when the rule needs a secret, and there is none that its author may use */
extern void flo_rule_require_secret(const FloRuleSpec *spec);

/* What can be said without knowing the table */
extern void flo_rule_check(const FloRuleSpec *spec);

/*
 * Throw what is wrong with a rule: for this table, or (NULL) as far as can be
 * said without one.
 */
extern void flo_rule_try(const FloRuleSpec *spec, const FloRelation *relation, bool decoding,
						 bool events);

/* The columns have been bound anew */
extern void flo_rule_bind(FloRule *rule, const FloShapeColumns *columns,
						  const FloRelation *relation);

extern FloVerdict flo_rule_filter(FloRule *rule, FloShapeColumns *columns,
								  const FloRowView *view);

/*
 * Apply a transform to the value, which is that of its column after the
 * transforms before it.  Results are in the current memory context.
 */
extern void flo_rule_transform(FloRule *rule, FloShapeColumns *columns,
							   const FloRowView *view, FloValue *value, StringInfo scratch);

/* Can the new row be inserted: is every value there? */
extern bool flo_row_is_complete(const FloChange *change);

/* NULL when it is not known */
extern const FloValue *flo_view_value(const FloRowView *view, int index, bool is_key);

#endif
