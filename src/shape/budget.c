/*
 * budget.c
 *		How long rules may work on one row.
 *
 * A timer cancels what is being done, as statement_timeout does in a session
 * of a user: whatever looks for interrupts ends by it, expressions and regular
 * expressions alike.
 */
#include "postgres.h"

#include <signal.h>

#include "core/settings.h"
#include "miscadmin.h"
#include "shape/budget.h"
#include "storage/latch.h"
#include "utils/timeout.h"

static int	depth = 0;
static volatile sig_atomic_t spent = false;

/* In a signal handler */
static void
time_is_over(void)
{
	/* somebody else's cancellation is not ours */
	if (QueryCancelPending)
		return;
	spent = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
}

static TimeoutId
timer(void)
{
	static bool registered = false;
	static TimeoutId id;

	if (!registered)
		id = RegisterTimeout(USER_TIMEOUT, time_is_over);
	registered = true;
	return id;
}

void
flo_budget_begin(void)
{
	if (depth++ > 0)
		return;
	spent = false;
	enable_timeout_after(timer(), flo_rule_budget);
}

bool
flo_budget_end(void)
{
	bool		was_spent;

	if (--depth > 0)
		return false;
	disable_timeout(timer(), false);
	was_spent = spent;
	/* the rules were done before anybody looked */
	if (was_spent)
		QueryCancelPending = false;
	spent = false;
	return was_spent;
}
