/*
 * budget.h
 *		How long rules may work on one row: pg_flo.rule_budget.
 */
#ifndef FLO_BUDGET_H
#define FLO_BUDGET_H

/*
 * From now on the row's rules are timed: when the time is over, what they do is
 * cancelled at the next check for interrupts, like a statement.  Calls may nest,
 * and the outermost counts.
 */
extern void flo_budget_begin(void);

/* Must follow, also after an error.  Was the time over before? */
extern bool flo_budget_end(void);

#endif
