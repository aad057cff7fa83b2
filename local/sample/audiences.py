Definition=definitions=None
