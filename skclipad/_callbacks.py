"""The progress of `fit`, told to callbacks of scikit-learn, which has them from 1.9."""

from contextlib import contextmanager
from functools import partial

from skclipad._method.progress import nobody

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:
    CallbackSupportMixin = object


class FitCallbacks(CallbackSupportMixin):
    """An estimator that tells callbacks, if it was given some, how far `fit` is."""

    def _begin_callbacks(self, X, y, n_tasks):
        """Tell them that `fit` begins; return what to tell its tasks with."""
        if CallbackSupportMixin is object:
            return nobody
        fit = self._init_callback_context(max_subtasks=n_tasks)
        fit.call_on_fit_task_begin(estimator=self, X=X, y=y)
        return partial(_told, self, fit)

    def _end_callbacks(self, X, y):
        """Tell them that `fit` has ended, and the estimator is ready to be scored."""
        if CallbackSupportMixin is not object:
            self._callback_fit_ctx.call_on_fit_task_end(
                estimator=self, X=X, y=y, reconstruction_attributes={}
            )


@contextmanager
def _told(estimator, fit, task, n_steps):
    """Tell callbacks of a task of `fit`, as `nobody` has it."""
    context = fit.subcontext(task_name=task, max_subtasks=n_steps)
    context.call_on_fit_task_begin(estimator=estimator)

    def done(n_done):
        for _ in range(n_done):
            step = context.subcontext(task_name=f"{task}-step")
            step.call_on_fit_task_begin(estimator=estimator)
            step.call_on_fit_task_end(estimator=estimator)

    yield done
    context.call_on_fit_task_end(estimator=estimator)
