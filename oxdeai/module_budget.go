package oxdeai

import (
	"math/big"
)

var zero = new(big.Int)

// decideBudget checks the cap of one action, then the budget of the period. Reaching either exactly is allowed.
func decideBudget(q *request) (ruling, error) {
	amount, err := q.asked()
	if err != nil {
		return ruling{}, err
	}
	if amount.Cmp(q.state.MaxAmountPerAction[q.agent]) > 0 {
		return denied(CapExceeded)
	}
	spent := q.state.Budget.Spent[q.agent]
	if spent == nil {
		spent = zero
	}
	total := new(big.Int).Add(spent, amount)
	if total.Cmp(q.state.Budget.Limit[q.agent]) > 0 {
		return denied(BudgetExceeded)
	}
	return allowed(func(w *State) { w.Budget.Spent = with(w.Budget.Spent, q.agent, total) })
}

func encodeBudget(e *encoder, s *State) {
	e.raw(`{"budget_limit":`)
	encodeMap(e, s.Budget.Limit, (*encoder).amount)
	e.raw(`,"max_amount_per_action":`)
	encodeMap(e, s.MaxAmountPerAction, (*encoder).amount)
	e.raw(`,"spent_in_period":`)
	encodeMap(e, s.Budget.Spent, (*encoder).amount)
	e.raw("}")
}

func resetBudget(s *State) {
	s.Budget = Budget{Limit: map[string]*big.Int{}, Spent: map[string]*big.Int{}}
	s.MaxAmountPerAction = map[string]*big.Int{}
}

func loadBudget(s *State, o *Object) (err error) {
	if s.Budget.Limit, err = readMap(o, "budget_limit", "budget_limit", readPlainAmount); err != nil {
		return err
	}
	if s.Budget.Spent, err = readMap(o, "spent_in_period", "spent_in_period", readPlainAmount); err != nil {
		return err
	}
	s.MaxAmountPerAction, err = readMap(o, "max_amount_per_action", "max_amount_per_action", readPlainAmount)
	return err
}
