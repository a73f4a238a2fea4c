"""What must be true whatever is wired. Each truth takes a trial and returns a complaint, or "" where all is well."""

from . import neighbours, results, words

TRUTHS = (
    results.it_ends_and_is_finite,
    results.a_second_run_is_as_the_first,
    results.wiring_is_in_any_order,
    results.all_off_is_nothing,
    results.one_that_is_off_is_nothing,
    results.samples_are_alone,
    results.a_look_at_another_size_changes_nothing,
    neighbours.foreign_state_is_intact,
    neighbours.others_are_called_as_often,
    neighbours.who_watches_changes_nothing,
    neighbours.no_node_of_others_is_silenced,
    neighbours.who_is_replaced_has_no_effect,
    neighbours.caches_move_no_further,
    neighbours.caches_repeat_steps_and_no_more,
    neighbours.passes_are_as_logged,
    neighbours.a_negative_that_nobody_contrasts_is_not_paid_for,
    words.nothing_is_said_that_did_not_happen,
    words.nothing_happens_that_is_not_said,
    words.weights_are_as_logged,
    words.non_finite_is_as_logged,
    words.sentences_are_whole,
    results.all_is_as_before,
    results.random_numbers_are_the_hosts,
)
