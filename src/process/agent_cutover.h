/*
 * agent_cutover.h
 *		Requests for a cut-over, committed at once whatever becomes of the caller.
 */
#ifndef FLO_AGENT_CUTOVER_H
#define FLO_AGENT_CUTOVER_H

#include "conf/cutover.h"

/*
 * In the session: ask for it.  False when an attempt is under way.  "withdraw" ends
 * one that nobody has begun with; false when somebody has.
 */
extern bool flo_cutover_request(const FloCutover *cutover);
extern bool flo_cutover_withdraw(const char *group);

#endif
